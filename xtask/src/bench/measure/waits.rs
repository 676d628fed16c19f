//! What others wait for: a system call beside us, the diagnosis of a failed bind,
//! a frame.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Bench, float, load};
use crate::bench::observer::{Observer, Watching};
use crate::bench::process;
use crate::bench::results::{Beside, Diagnoses, Frames, change, median, percentile};
use crate::bench::stage::on_stage;

impl Bench<'_> {
    /// A process that never touches a socket, beside nobody, us, and the least that one can
    /// do to see a call's result by its tracepoint.
    pub(in crate::bench) fn syscalls(&self) -> Result<Vec<Beside>> {
        // Enough for its processor time to be known to a part in a hundred, also where a call
        // takes a microsecond.
        let calls = if self.short { 4_000_000 } else { 20_000_000 };
        let mut observers = vec![Observer::Nobody, Observer::Json];
        observers.extend(Some(Observer::EmptyExit).filter(|of| of.missing().is_none()));
        self.beside(&observers, "syscalls", calls, 3)
    }

    /// What each of a load's calls takes beside an observer.
    fn times(&self, observer: Observer, arguments: &[&str], calls: u64) -> Result<Times> {
        on_stage(|| {
            let watching = Watching::start(observer, self.tcpstate, self.files)?;
            let done = load(arguments)?;
            watching.end()?;
            let each = |name: &str| {
                let ns = done[name].as_u64().context("the load says its times")?;
                anyhow::Ok(float(ns) / float(calls))
            };
            Ok(Times {
                elapsed_ns: each("took_ns")?,
                own_ns: each("own_ns")?,
            })
        })
    }

    /// A process that binds sockets, beside nobody, us, and who is made for it.
    pub(in crate::bench) fn binds(&self, absent: &mut Vec<String>) -> Result<Vec<Beside>> {
        let calls = if self.short { 20_000 } else { 200_000 };
        let mut observers = vec![Observer::Nobody, Observer::Json];
        match Observer::Bindsnoop.missing() {
            Some(why) => absent.push(why),
            // Its hooks are refused where kprobes are.
            None => match Watching::start(Observer::Bindsnoop, self.tcpstate, self.files) {
                Ok(watching) => {
                    watching.end()?;
                    observers.push(Observer::Bindsnoop);
                }
                Err(error) => absent.push(format!("{error:#}")),
            },
        }
        self.beside(&observers, "binds", calls, self.rounds())
    }

    /// A load's calls beside each of the observers in turn; the first is nobody.
    fn beside(
        &self,
        observers: &[Observer],
        load: &str,
        calls: u64,
        rounds: usize,
    ) -> Result<Vec<Beside>> {
        let calls_text = calls.to_string();
        let mut found: Vec<(Observer, Vec<Times>)> =
            observers.iter().map(|of| (*of, Vec::new())).collect();
        for _ in 0..rounds {
            for (observer, all) in &mut found {
                all.push(self.times(*observer, &[load, "--calls", &calls_text], calls)?);
            }
        }
        let elapsed = |all: &[Times]| medians(all, |times| times.elapsed_ns);
        let own = |all: &[Times]| medians(all, |times| times.own_ns);
        let nobody: &[Times] = found.first().map_or(&[], |(_, all)| all);
        let (alone_ns, own_alone_ns) = (elapsed(nobody), own(nobody));
        let rows = found.iter().map(|(observer, all)| Beside {
            observer: *observer,
            calls,
            each_ns: elapsed(all),
            change_percent: change(alone_ns, elapsed(all)),
            own_ns: own(all),
            own_change_percent: change(own_alone_ns, own(all)),
        });
        Ok(rows.collect())
    }

    /// From a failed `bind` to its diagnosis.
    pub(in crate::bench) fn diagnoses(&self) -> Result<Vec<Diagnoses>> {
        Ok(vec![
            self.diagnoses_beside("nothing", false)?,
            self.diagnoses_beside("the load at full speed", true)?,
        ])
    }

    fn diagnoses_beside(&self, beside: &'static str, is_busy: bool) -> Result<Diagnoses> {
        let binds = if self.short { 20 } else { 300 };
        let waits = on_stage(|| {
            let mut child = self.watch(&["--json"]).spawn()?;
            let stdout = child.stdout.take().context("stdout is piped")?;
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (ready, is_ready) = mpsc::channel();
                let reader = scope.spawn(|| waits(stdout, ready));
                if is_ready.recv_timeout(process::PATIENCE).is_err() {
                    process::end(&mut child)?;
                    bail!("tcpstate does not get ready");
                }
                if is_busy {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::Relaxed) {
                            let done = load(&["connections", "--connections", "20000"]);
                            if done.is_err() {
                                break;
                            }
                        }
                    });
                }
                let done = load(&[
                    "failing-binds",
                    "--binds",
                    &binds.to_string(),
                    "--every-ms",
                    "20",
                ]);
                is_over.store(true, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(500));
                process::end(&mut child)?;
                done?;
                reader
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        ensure!(
            waits.len() == binds,
            "{} of {binds} failed binds have a diagnosis",
            waits.len()
        );
        let found = Diagnoses {
            beside,
            binds,
            median_ms: median(&waits),
            p99_ms: percentile(&waits, 99),
            worst_ms: percentile(&waits, 100),
        };
        eprintln!("{found:?}");
        Ok(found)
    }

    /// Drawing, as the example `frame_cost` measures it.
    pub(in crate::bench) fn frames(&self) -> Result<Vec<Frames>> {
        let output = Command::new(self.programs.join("examples/frame_cost"))
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start frame_cost")?;
        ensure!(
            output.status.success(),
            "frame_cost failed: {}",
            output.status
        );
        Ok(frames_of(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Nanoseconds of a call.
struct Times {
    elapsed_ns: f64,
    own_ns: f64,
}

fn medians(times: &[Times], of: fn(&Times) -> f64) -> f64 {
    median(&times.iter().map(of).collect::<Vec<_>>())
}

/// Milliseconds from each failed bind to its diagnosis. Tells when the hooks are on,
/// which the first line says.
fn waits(stdout: ChildStdout, ready: Sender<()>) -> Result<Vec<f64>> {
    let mut waits = Vec::new();
    let mut ready = Some(ready);
    let mut failed_ns = 0;
    for line in BufReader::with_capacity(1 << 16, stdout).lines() {
        let line = line?;
        if let Some(ready) = ready.take() {
            // Who does not wait any more has given up.
            let _ = ready.send(());
        }
        // The diagnosis follows its call.
        if line.starts_with(r#"{"event":"bind""#) {
            let bind: Value = serde_json::from_str(&line)?;
            if bind["ok"] == false {
                failed_ns = bind["mono_ns"].as_u64().unwrap_or(0);
            }
        } else if line.starts_with(r#"{"event":"diagnosis""#) {
            waits.push(float(monotonic_ns().saturating_sub(failed_ns)) / 1e6);
        }
    }
    Ok(waits)
}

/// Rows such as `|    100000 |    900 |    700 |   1100 |   1500 |    200 |`:
/// sockets, first, median, p99, worst, pause.
fn frames_of(table: &str) -> Vec<Frames> {
    table
        .lines()
        .filter_map(|line| {
            let cells: Vec<u64> = line
                .split('|')
                .filter_map(|cell| cell.trim().parse().ok())
                .collect();
            let [sockets, _, median_us, p99_us, worst_us, _] = *cells.as_slice() else {
                return None;
            };
            Some(Frames {
                sockets,
                median_us,
                p99_us,
                worst_us,
            })
        })
        .collect()
}

/// `CLOCK_MONOTONIC`, as the kernel's records have it.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_numbers_are_frames() {
        let table = "| sockets | first |\n| --: | --: |\n| 100 | 9 | 1 | 2 | 3 | 4 |\n";

        let frames = frames_of(table);

        assert_eq!(frames.len(), 1);
        assert_eq!(
            (frames[0].sockets, frames[0].median_us, frames[0].worst_us),
            (100, 1, 3)
        );
    }
}
