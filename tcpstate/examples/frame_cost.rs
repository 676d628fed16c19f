//! What a frame of the dashboard costs over tables of different sizes:
//! `cargo run --release -p tcpstate --example frame_cost`.
//!
//! A socket appears before every frame, so that none is saved for want of news.
//! A frame that puts the rows in order anew is dearer than the others; how
//! seldom that happens depends on the size of the table.

#[path = "../tests/support/story.rs"]
mod story;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use tcpstate::clock;
use tcpstate::event::State;
use tcpstate::tui::{Action, App, Theme, draw};

/// Sockets in the table.
const SIZES: [u32; 4] = [100, 10_000, 100_000, 1_000_000];
/// Ten seconds of frames.
const FRAMES: usize = 300;
/// Time between two frames.
const FRAME_NS: u64 = 33_000_000;

fn main() -> anyhow::Result<()> {
    println!("A frame of 200×60, {FRAMES} of them, in microseconds; pause: freezing the screen.\n");
    println!("|   sockets |  first | median |    p99 |  worst |  pause |");
    println!("| --------: | -----: | -----: | -----: | -----: | -----: |");
    for size in SIZES {
        let cost = measure(size)?;
        println!(
            "| {size:>9} | {:>6} | {:>6} | {:>6} | {:>6} | {:>6} |",
            cost.first, cost.median, cost.p99, cost.worst, cost.pause
        );
    }
    Ok(())
}

/// Microseconds.
struct Cost {
    first: u64,
    median: u64,
    p99: u64,
    worst: u64,
    pause: u64,
}

fn measure(size: u32) -> anyhow::Result<Cost> {
    let mut story = story::serving().0;
    story.find(size, State::TimeWait, None);
    let mut app = App::new(Theme::Dark);
    let mut terminal = Terminal::new(TestBackend::new(200, 60))?;
    let mut took_us = Vec::with_capacity(FRAMES);
    for _ in 0..FRAMES {
        story.now_ns += FRAME_NS;
        story.find(1, State::Established, None);
        let begun_ns = clock::monotonic_ns();
        terminal.draw(|frame| draw(frame, &story.engine, &mut app, story.now_ns))?;
        took_us.push(us_since(begun_ns));
    }
    let first = took_us.remove(0);
    took_us.sort_unstable();
    let begun_ns = clock::monotonic_ns();
    app.act(Action::Pause, &story.engine);
    Ok(Cost {
        first,
        median: took_us[took_us.len() / 2],
        p99: took_us[took_us.len() * 99 / 100],
        worst: took_us[took_us.len() - 1],
        pause: us_since(begun_ns),
    })
}

fn us_since(begun_ns: u64) -> u64 {
    (clock::monotonic_ns() - begun_ns) / 1_000
}
