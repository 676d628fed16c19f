//! The dashboard over a canned story, on a real terminal and without a kernel:
//! `cargo run --example tui_preview -- [empty|serving|down|restarted|many|lossy|ports|panic]`.

use support::story;

use std::time::Duration;

use story::{PORT, Story, process};
use tcpstate::clock;
use tcpstate::event::{Body, State, Tick};
use tcpstate::tui::config::Config;
use tcpstate::tui::ui::FRAME;
use tcpstate::tui::{Control, Ui};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut story = tell(&wanted);
    let begun_ns = clock::monotonic_ns();
    let start_ns = story.now_ns;
    let mut ui = Ui::start(Config::default())?;
    let mut frames = tokio::time::interval(FRAME);
    let mut seconds = 0;
    loop {
        tokio::select! {
            input = ui.next_input() => {
                if ui.handle(&input?, &story.engine)? == Control::Quit {
                    return Ok(());
                }
            }
            _ = frames.tick() => {
                let elapsed = Duration::from_nanos(clock::monotonic_ns() - begun_ns);
                story.now_ns = start_ns + u64::try_from(elapsed.as_nanos())?;
                if elapsed.as_secs() > seconds {
                    seconds = elapsed.as_secs();
                    story.tell(Body::Tick(Tick {}));
                }
                assert!(wanted != "panic" || seconds < 2, "asked to panic");
                if ui.needs_redraw(&story.engine, story.now_ns) {
                    ui.draw(&story.engine, story.now_ns)?;
                }
            }
        }
    }
}

fn tell(wanted: &str) -> Story {
    match wanted {
        "empty" => Story::begun(),
        "serving" => story::serving().0,
        "restarted" => story::restarted(),
        "many" => {
            let mut story = story::serving().0;
            story.find(100_000, State::TimeWait, None);
            story
        }
        "lossy" => {
            let mut story = story::serving().0;
            story.lose(1_234, false);
            story
        }
        "ports" => {
            let mut story = Story::watching(vec![]);
            let server = process("postgres", 812);
            for port in [5432, 6379, 9090, 22] {
                story.listen(port, &server);
            }
            story.wait_ms(90_000);
            let web = process("nginx", 4711);
            let listener = story.listen(PORT, &web);
            story.wait_ms(5_000);
            story.stop_listening(listener, PORT, &web);
            story.bind_fails(PORT, &web, vec![]);
            story
        }
        _ => story::down(),
    }
}
