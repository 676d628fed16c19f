//! The dashboard over a canned scenario, on a real terminal and without a kernel:
//! `cargo run --example tui_preview -- [empty|serving|down|restarted|many|lossy|ports|panic]`.

use support::scenario;

use std::time::Duration;

use scenario::{PORT, Scenario, process};
use tcpstate::clock;
use tcpstate::event::{Body, State, Tick};
use tcpstate::tui::config::Config;
use tcpstate::tui::ui::FRAME;
use tcpstate::tui::{Control, Ui};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut scenario = tell(&wanted);
    let begun_ns = clock::monotonic_ns();
    let start_ns = scenario.now_ns;
    let mut ui = Ui::start(Config::default())?;
    let mut frames = tokio::time::interval(FRAME);
    let mut seconds = 0;
    loop {
        tokio::select! {
            input = ui.next_input() => {
                if ui.handle(&input?, &scenario.engine)? == Control::Quit {
                    return Ok(());
                }
            }
            _ = frames.tick() => {
                let elapsed = Duration::from_nanos(clock::monotonic_ns() - begun_ns);
                scenario.now_ns = start_ns + u64::try_from(elapsed.as_nanos())?;
                if elapsed.as_secs() > seconds {
                    seconds = elapsed.as_secs();
                    scenario.observe(Body::Tick(Tick {}));
                }
                assert!(wanted != "panic" || seconds < 2, "asked to panic");
                if ui.needs_redraw(&scenario.engine, scenario.now_ns) {
                    ui.draw(&scenario.engine, scenario.now_ns)?;
                }
            }
        }
    }
}

fn tell(wanted: &str) -> Scenario {
    match wanted {
        "empty" => Scenario::begun(),
        "serving" => scenario::serving().0,
        "restarted" => scenario::restarted(),
        "many" => {
            let mut scenario = scenario::serving().0;
            scenario.find(100_000, State::TimeWait, None);
            scenario
        }
        "lossy" => {
            let mut scenario = scenario::serving().0;
            scenario.lose(1_234, false);
            scenario
        }
        "ports" => {
            let mut scenario = Scenario::watching(vec![]);
            let server = process("postgres", 812);
            for port in [5432, 6379, 9090, 22] {
                scenario.listen(port, &server);
            }
            scenario.wait_ms(90_000);
            let web = process("nginx", 4711);
            let listener = scenario.listen(PORT, &web);
            scenario.wait_ms(5_000);
            scenario.stop_listening(listener, PORT, &web);
            scenario.bind_fails(PORT, &web, vec![]);
            scenario
        }
        _ => scenario::down(),
    }
}
