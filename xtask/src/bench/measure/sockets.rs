//! Beginning to watch: an empty machine, and one with a million sockets.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, float, spawn_load};
use crate::bench::observer::{Observer, Watching};
use crate::bench::process;
use crate::bench::results::{Population, Start, median, percentile};
use crate::bench::stage::on_stage;
use crate::bench::stopwatch::Stopwatch;

impl Bench<'_> {
    /// From the start to the first event.
    pub(in crate::bench) fn start(&self) -> Result<Start> {
        let rounds = if self.short { 2 } else { 15 };
        let (mut first, mut hooks) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            on_stage(|| {
                let mut traffic =
                    spawn_load(&["connections", "--connections", "3000", "--rate", "1000"])?;
                std::thread::sleep(Duration::from_millis(300));
                let began = Stopwatch::start();
                let mut child = self
                    .watch(&["--json", "-v"])
                    .stderr(Stdio::piped())
                    .spawn()?;
                let stdout = child.stdout.take().context("stdout is piped")?;
                for line in BufReader::new(stdout).lines() {
                    if line?.starts_with(r#"{"event":"tcp.state""#) {
                        break;
                    }
                }
                first.push(began.millis());
                // Nobody reads any more: the next line ends it.
                process::end(&mut child)?;
                let said = stderr_of(&mut child)?;
                hooks.extend(reported_ms(&said, "tcpstate: watching after "));
                process::end(&mut traffic)
            })?;
        }
        let idle = on_stage(|| {
            let watching = Watching::start(Observer::Json, self.tcpstate, self.files)?;
            watching.end()
        })?;
        Ok(Start {
            rounds,
            first_event_ms: [median(&first), percentile(&first, 100)],
            hooks_ms: (!hooks.is_empty()).then(|| median(&hooks)),
            idle_kb: idle.idle_kb,
        })
    }

    /// How the first table grows with the sockets that are there.
    pub(in crate::bench) fn populations(&self) -> Result<Vec<Population>> {
        let all: &[(u64, bool)] = if self.short {
            &[(2_000, false)]
        } else {
            &[
                (10_000, false),
                (10_000, true),
                (30_000, false),
                (100_000, false),
                (100_000, true),
                (1_000_000, false),
                (1_000_000, true),
            ]
        };
        all.iter()
            .map(|(sockets, established)| on_stage(|| self.population(*sockets, *established)))
            .collect()
    }

    fn population(&self, sockets: u64, established: bool) -> Result<Population> {
        // One process may have as few as 10,000 descriptors.
        let each = if established { 8_000 } else { sockets };
        let mut holders = Vec::new();
        for number in 0..sockets.div_ceil(each) {
            let sockets = each.min(sockets - number * each).to_string();
            let number = number.to_string();
            let mut arguments = vec!["population", "--number", &number, "--sockets", &sockets];
            if established {
                arguments.push("--established");
            }
            holders.push(Holder(spawn_load(&arguments)?));
        }
        for Holder(load) in &mut holders {
            let mut said = String::new();
            let stdout = load.stdout.take().context("stdout is piped")?;
            BufReader::new(stdout).read_line(&mut said)?;
            ensure!(said.contains("ready"), "the sockets could not be made");
        }

        // A TIME_WAIT lives for a minute.
        let rounds = if sockets > 500_000 { 2 } else { 5 };
        let (mut tables, mut listings, mut ss) = (Vec::new(), Vec::new(), Vec::new());
        let mut listed = 0;
        for _ in 0..rounds {
            let (table_ms, sockets, listing_ms) = self.first_table()?;
            tables.push(table_ms);
            listed = sockets;
            listings.extend(listing_ms);
            let began = Stopwatch::start();
            let status = Command::new("ss")
                .arg("-Htano")
                .stdout(std::fs::File::create(self.files.out())?)
                .status();
            if status.is_ok_and(|status| status.success()) {
                ss.push(began.millis());
            }
        }
        let watching = Watching::start(Observer::Json, self.tcpstate, self.files)?;
        // Until the table is there.
        std::thread::sleep(Duration::from_secs_f64(median(&tables) / 500.0));
        let before_ns = watching.cpu_ns();
        let seconds = if self.short { 1 } else { 5 };
        std::thread::sleep(Duration::from_secs(seconds));
        let spent_ns = watching.cpu_ns() - before_ns;
        let idle_cpu_percent = float(spent_ns) / 1e7 / float(seconds);
        let peak_kb = watching.end()?.peak_kb;
        drop(holders);
        let found = Population {
            sockets,
            state: if established {
                "established"
            } else {
                "time_wait"
            },
            listed,
            table_ms: median(&tables),
            listing_ms: (!listings.is_empty()).then(|| median(&listings)),
            ss_ms: (!ss.is_empty()).then(|| median(&ss)),
            peak_kb,
            idle_cpu_percent,
        };
        eprintln!("{found:?}");
        Ok(found)
    }

    /// From the start to the last line of the first table, and its sockets.
    fn first_table(&self) -> Result<(f64, u64, Option<f64>)> {
        let began = Stopwatch::start();
        let mut child = self
            .watch(&["--json", "-v", "--duration", "0s"])
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (mut sockets, mut table_ms) = (0, 0.0);
        for line in BufReader::with_capacity(1 << 20, stdout).lines() {
            if line?.starts_with(r#"{"event":"socket""#) {
                sockets += 1;
                table_ms = began.millis();
            }
        }
        let said = stderr_of(&mut child)?;
        child.wait()?;
        Ok((
            table_ms,
            sockets,
            reported_ms(&said, "tcpstate: sockets listed in "),
        ))
    }
}

/// A process that keeps sockets; they go with it.
pub(super) struct Holder(pub(super) Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a child has said on stderr until it closed it.
fn stderr_of(child: &mut Child) -> Result<String> {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    Ok(said)
}

/// `12.3` of a line `tcpstate: watching after 12.3 ms`.
fn reported_ms(said: &str, before: &str) -> Option<f64> {
    let rest = said.lines().find_map(|line| line.strip_prefix(before))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_the_program_says_are_read() {
        let said = "tcpstate: hook x on\ntcpstate: watching after 41.5 ms\n";

        assert_eq!(reported_ms(said, "tcpstate: watching after "), Some(41.5));
        assert_eq!(reported_ms(said, "tcpstate: nothing "), None);
    }
}
