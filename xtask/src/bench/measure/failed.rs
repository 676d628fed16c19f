//! Failed calls of a user who makes them as fast as he can or as stated, out of several
//! processes, while others have descriptors open: how many are explained and how many
//! counted, and how long a server waits for its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::waits::monotonic_ns;
use super::{Bench, float, spawn_load};
use crate::bench::load::FOREIGN;
use crate::bench::process::{self, Spent};
use crate::bench::results::{FailedCalls, median, percentile};
use crate::bench::stage::on_stage;
use crate::bench::stopwatch::Stopwatch;

/// Descriptors of one process: more than most may have are not asked for.
const OF_ONE_PROCESS: u64 = 10_000;

/// What is beside a server whose binds fail.
#[derive(Clone, Copy)]
struct Beside {
    /// Failed calls a second of all processes; 0: as fast as possible.
    rate: u64,
    processes: u64,
    descriptors: u64,
}

/// What the program said.
#[derive(Default)]
struct Reported {
    /// Milliseconds from each of the server's failed binds to its diagnosis.
    waits: Vec<f64>,
    /// Of the others.
    explained: u64,
    counted: u64,
}

impl Bench<'_> {
    pub(in crate::bench) fn failed_calls(&self) -> Result<Vec<FailedCalls>> {
        let beside = |rate, processes, descriptors| Beside {
            rate,
            processes,
            descriptors,
        };
        let rows = if self.short {
            vec![beside(2_000, 4, 20_000)]
        } else {
            vec![
                beside(0, 0, 0),
                beside(100, 1, 0),
                beside(2_000, 1, 0),
                beside(2_000, 200, 0),
                beside(0, 2, 0),
                beside(0, 0, 100_000),
                beside(0, 0, 400_000),
                beside(0, 2, 400_000),
            ]
        };
        rows.into_iter()
            .map(|row| self.failed_beside(row))
            .collect()
    }

    fn failed_beside(&self, beside: Beside) -> Result<FailedCalls> {
        let binds: u64 = if self.short { 20 } else { 100 };
        let seconds = if self.short { 2 } else { 10 };
        let found = on_stage(|| {
            let idle = idle(beside.descriptors)?;
            let mut child = self.watch(&["--json"]).spawn()?;
            let stdout = child.stdout.take().context("stdout is piped")?;
            let done = std::thread::scope(|scope| {
                let (ready, is_ready) = mpsc::channel();
                let reader = scope.spawn(|| said(stdout, ready));
                if is_ready.recv_timeout(process::PATIENCE).is_err() {
                    process::end(&mut child)?;
                    bail!("tcpstate does not get ready");
                }
                let (began, before) = (Stopwatch::start(), Spent::by(child.id()));
                let failing = failing(beside, seconds)?;
                let every_ms = seconds * 900 / binds;
                let (binds, every_ms) = (binds.to_string(), every_ms.to_string());
                let server = ["failing-binds", "--binds", &binds, "--every-ms", &every_ms];
                let served = spawn_load(&server)?.wait()?;
                let mut made = 0;
                for load in failing {
                    let output = load.wait_with_output()?;
                    let said: Value = serde_json::from_slice(&output.stdout)?;
                    made += said["made"].as_u64().context("the load says how many")?;
                }
                // What has come to rest is told after a second or two.
                std::thread::sleep(Duration::from_secs(2));
                let spent = Spent::by(child.id()).since(before);
                let cpu_percent = float(spent.all_ns()) * 100.0 / float(began.nanos());
                let peak_kb = process::status_kb(child.id(), "VmHWM:");
                process::end(&mut child)?;
                ensure!(served.success(), "the server's load failed");
                let said = reader
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                Ok((said, made, cpu_percent, peak_kb))
            });
            for mut process in idle {
                drop(process.stdin.take());
                process.wait()?;
            }
            done
        })?;
        let (said, made, cpu_percent, peak_kb) = found;
        ensure!(
            said.explained + said.counted == made,
            "{} explained and {} counted of {made} failed calls",
            said.explained,
            said.counted
        );
        ensure!(
            said.waits.len() as u64 == binds,
            "{} of {binds} failed binds of the server have a diagnosis",
            said.waits.len()
        );
        let found = FailedCalls {
            rate: made / seconds,
            processes: beside.processes,
            descriptors: beside.descriptors,
            explained: said.explained,
            counted: said.counted,
            median_ms: median(&said.waits),
            p99_ms: percentile(&said.waits, 99),
            worst_ms: percentile(&said.waits, 100),
            cpu_percent,
            peak_kb,
        };
        eprintln!("{found:?}");
        Ok(found)
    }
}

/// Processes that have descriptors open, and end with their stdin.
fn idle(descriptors: u64) -> Result<Vec<Child>> {
    let each = OF_ONE_PROCESS.to_string();
    let start = |_| {
        let mut child = spawn_load(&["idle", "--descriptors", &each])?;
        let stdout = child.stdout.as_mut().context("stdout is piped")?;
        // It says that it is ready.
        BufReader::new(stdout).read_line(&mut String::new())?;
        Ok(child)
    };
    (0..descriptors / OF_ONE_PROCESS).map(start).collect()
}

fn failing(beside: Beside, seconds: u64) -> Result<Vec<Child>> {
    let Some(each) = beside.rate.checked_div(beside.processes) else {
        return Ok(Vec::new());
    };
    let (each, seconds) = (each.to_string(), seconds.to_string());
    (0..beside.processes)
        .map(|_| spawn_load(&["foreign-binds", "--rate", &each, "--seconds", &seconds]))
        .collect()
}

fn said(stdout: ChildStdout, ready: Sender<()>) -> Result<Reported> {
    let mut said = Reported::default();
    let mut ready = Some(ready);
    // The diagnosis follows its call.
    let mut servers_ns = None;
    for line in BufReader::with_capacity(1 << 16, stdout).lines() {
        let line = line?;
        if let Some(ready) = ready.take() {
            // Who does not wait any more has given up.
            let _ = ready.send(());
        }
        if line.starts_with(r#"{"event":"diagnosis""#) {
            if let Some(failed_ns) = servers_ns.take() {
                let waited_ns = monotonic_ns().saturating_sub(failed_ns);
                said.waits.push(float(waited_ns) / 1e6);
            }
        } else if line.starts_with(r#"{"event":"bind""#) {
            let bind: Value = serde_json::from_str(&line)?;
            let requested = &bind["requested"];
            if bind["ok"] == false && requested["addr"] == FOREIGN {
                let is_sum = bind["is_sum"] == true;
                said.explained += u64::from(!is_sum);
                said.counted += u64::from(is_sum) + bind["repeated"].as_u64().unwrap_or(0);
            } else if bind["ok"] == false {
                servers_ns = bind["mono_ns"].as_u64();
            }
        } else if line.starts_with(r#"{"event":"flood""#) {
            let flood: Value = serde_json::from_str(&line)?;
            said.counted += flood["count"].as_u64().unwrap_or(0);
        }
    }
    Ok(said)
}
