//! How long a key takes to be answered on the screen while much is going on.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sockets::Holder;
use super::{Bench, load, spawn_load};
use crate::bench::process;
use crate::bench::results::{Keys, median, percentile};
use crate::bench::stage::on_stage;
use crate::bench::stopwatch::Stopwatch;
use crate::bench::terminal;

/// What the help has in its frame, and nothing else has.
const HELP: &str = "─ help ─";
/// The size of the terminal.
const ROWS: NonZero<u16> = NonZero::new(60).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(200).unwrap();
/// Between an answer and the next key.
const REST: Duration = Duration::from_millis(120);

impl Bench<'_> {
    /// Opens and closes the help over a large table beside the load at full speed.
    pub(in crate::bench) fn keys(&self) -> Result<Keys> {
        let (sockets, rounds) = if self.short {
            (2_000, 5)
        } else {
            (100_000, 100)
        };
        let answers = on_stage(|| {
            let count = sockets.to_string();
            let mut population = Holder(spawn_load(&["population", "--sockets", &count])?);
            let stdout = population.0.stdout.take().context("stdout is piped")?;
            let mut said = String::new();
            BufReader::new(stdout).read_line(&mut said)?;
            ensure!(said.contains("ready"), "the sockets could not be made");

            let (inside, outside) = terminal::open()?;
            let mut child = Command::new(self.tcpstate)
                .args(["watch", "--netns", "self", "--format", "tui"])
                .env("TERM", "xterm-256color")
                .stdin(inside.try_clone()?)
                .stdout(inside)
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start tcpstate")?;
            let mut screen = Screen {
                terminal: File::from(outside),
                parser: vt100::Parser::new(ROWS, COLUMNS, 0),
            };
            let is_over = AtomicBool::new(false);
            let answers = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        if load(&["connections", "--connections", "20000"]).is_err() {
                            break;
                        }
                    }
                });
                let answers = screen.press(rounds);
                is_over.store(true, Ordering::Relaxed);
                answers
            });
            drop(screen);
            // Without its terminal it ends by itself.
            let _ = process::end(&mut child);
            answers
        })?;
        let found = Keys {
            sockets,
            pressed: answers.len(),
            median_ms: median(&answers),
            p99_ms: percentile(&answers, 99),
            worst_ms: percentile(&answers, 100),
        };
        eprintln!("{found:?}");
        Ok(found)
    }
}

/// The other end of the dashboard's terminal, and what is on it.
struct Screen {
    terminal: File,
    parser: vt100::Parser,
}

impl Screen {
    /// Milliseconds until each key was answered.
    fn press(&mut self, rounds: usize) -> Result<Vec<f64>> {
        self.wait(process::PATIENCE, |text| text.contains("TIME_WAIT"))?;
        // The first table, and the load on its way.
        self.watch(Duration::from_secs(2))?;
        let mut answers = Vec::new();
        for _ in 0..rounds {
            for (key, is_open) in [(&b"?"[..], true), (&b"\x1b"[..], false)] {
                self.terminal.write_all(key)?;
                let pressed = Stopwatch::start();
                self.wait(process::PATIENCE, |text| text.contains(HELP) == is_open)?;
                answers.push(pressed.millis());
                self.watch(REST)?;
            }
        }
        Ok(answers)
    }

    /// Until the screen shows it.
    fn wait(&mut self, time: Duration, shows: impl Fn(&str) -> bool) -> Result<()> {
        let began = Stopwatch::start();
        while !shows(&self.parser.screen().contents()) {
            ensure!(began.elapsed() < time, "the dashboard does not answer");
            self.take(time)?;
        }
        Ok(())
    }

    /// Takes what comes for so long.
    fn watch(&mut self, time: Duration) -> Result<()> {
        let began = Stopwatch::start();
        while let Some(left) = time.checked_sub(began.elapsed()) {
            self.take(left)?;
        }
        Ok(())
    }

    /// Takes what is there, waiting no longer than this for it.
    fn take(&mut self, time: Duration) -> Result<()> {
        let time = Timespec::try_from(time)?;
        let mut waiting = [PollFd::new(&self.terminal, PollFlags::IN)];
        if poll(&mut waiting, Some(&time))? > 0 {
            let mut bytes = [0; 1 << 14];
            let read = self.terminal.read(&mut bytes)?;
            self.parser.process(&bytes[..read]);
        }
        Ok(())
    }
}
