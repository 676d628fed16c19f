//! What a frame of the dashboard costs over tables of different sizes:
//! `cargo run --release -p tcpstate --example frame_cost`.
//!
//! A socket appears before every frame, so that none is saved for want of news,
//! and now and then another column is sorted by. A frame that goes through a
//! piece of the table is dearer than the others; how seldom that happens depends
//! on the size of the table.

use support::scenario;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use scenario::{Scenario, process};
use tcpstate::clock;
use tcpstate::event::State;
use tcpstate::tui::config::Config;
use tcpstate::tui::theme::ColorDepth;
use tcpstate::tui::{Action, App, Theme};

/// Sockets in the table.
const SIZES: [u32; 4] = [100, 10_000, 100_000, 1_000_000];
/// Ports on which calls fail, in the last measurement.
const FAILING: u16 = 4_000;
/// Ten seconds of frames.
const FRAMES: usize = 300;
/// Time between two frames.
const FRAME_NS: u64 = 33_000_000;

fn main() -> anyhow::Result<()> {
    println!(
        "A frame of 200×60, {FRAMES} of them, in microseconds of processor time; pause: freezing \
         the screen.\n"
    );
    println!("|   sockets |  first | median |    p99 |  worst |  pause |");
    println!("| --------: | -----: | -----: | -----: | -----: | -----: |");
    for size in SIZES {
        let mut scenario = scenario::serving().0;
        scenario.find(size, State::TimeWait, None);
        measure(&size.to_string(), scenario)?;
    }
    measure("failing", failing())
}

/// Many ports without a `--port`, and calls fail on most of them.
fn failing() -> Scenario {
    let mut scenario = Scenario::watching(vec![]);
    let server = process("server", 1);
    for port in 1_000..1_000 + FAILING {
        let listener = scenario.listen(port, &server);
        if port % 2 == 0 {
            scenario.stop_listening(listener, port, &server);
        }
        scenario.now_ns += FRAME_NS;
        scenario.bind_fails(port, &server, vec![]);
    }
    scenario
}

fn measure(name: &str, mut scenario: Scenario) -> anyhow::Result<()> {
    let mut app = App::new(Config::default(), Theme::Dark, ColorDepth::Many);
    let mut terminal = Terminal::new(TestBackend::new(200, 60))?;
    let mut took_us = Vec::with_capacity(FRAMES);
    for frame in 0..FRAMES {
        scenario.now_ns += FRAME_NS;
        scenario.find(1, State::Established, None);
        let begun_ns = clock::processor_ns();
        if frame % 50 == 49 {
            app.act(Action::Sort, &scenario.engine);
        }
        terminal.draw(|frame| app.draw(frame.buffer_mut(), &scenario.engine, scenario.now_ns))?;
        took_us.push(us_since(begun_ns));
    }
    let first = took_us.remove(0);
    took_us.sort_unstable();
    let begun_ns = clock::processor_ns();
    app.act(Action::Pause, &scenario.engine);
    let pause = us_since(begun_ns);
    let median = took_us[took_us.len() / 2];
    let p99 = took_us[took_us.len() * 99 / 100];
    let worst = took_us[took_us.len() - 1];
    println!("| {name:>9} | {first:>6} | {median:>6} | {p99:>6} | {worst:>6} | {pause:>6} |");
    Ok(())
}

fn us_since(begun_ns: u64) -> u64 {
    (clock::processor_ns() - begun_ns) / 1_000
}
