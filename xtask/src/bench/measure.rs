//! The measurements. Each returns what it found; none depends on another.

mod failed;
mod keys;
mod sockets;
mod waits;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::load::Kind;
use super::observer::{Cost, Files, Observer, Watching};
use super::results::{FullSpeed, Kernel, Rate, change, median};
use super::stage::{Stats, on_stage};

/// What all measurements need.
pub(super) struct Bench<'a> {
    /// The folder of what was built.
    pub(super) programs: &'a Path,
    pub(super) tcpstate: &'a Path,
    pub(super) files: &'a Files,
    pub(super) short: bool,
}

/// One run of a load with one observer.
struct Run {
    connections: u64,
    took_ns: u64,
    transitions: u64,
    /// Transitions at which the kernel did not run tcpstate's program.
    unannounced: u64,
    cost: Cost,
}

impl Run {
    fn speed(&self) -> u64 {
        self.connections * 1_000_000_000 / self.took_ns.max(1)
    }

    fn cpu_s_per_million(&self) -> f64 {
        float(self.cost.cpu_ns) / 1e3 / float(self.transitions.max(1))
    }

    fn user_s_per_million(&self) -> f64 {
        float(self.cost.user_ns) / 1e3 / float(self.transitions.max(1))
    }
}

impl Bench<'_> {
    fn rounds(&self) -> usize {
        if self.short { 1 } else { 3 }
    }

    fn connections(&self) -> u64 {
        if self.short { 20_000 } else { 60_000 }
    }

    /// Slowdown and cost at full speed: nobody, tcpstate, peers, and again.
    pub(super) fn full_speed(&self, absent: &mut Vec<String>) -> Result<Vec<FullSpeed>> {
        use Observer::{Json, JsonOtherPort, Nobody, Record, RecordZstd, Text, Tui};

        let mut all = vec![Nobody, Json];
        if !self.short {
            all.extend([JsonOtherPort, Text, Tui, Record, RecordZstd]);
        }
        for peer in Observer::PEERS {
            match peer.missing() {
                Some(why) => absent.push(why),
                None if !self.short => all.push(peer),
                None => {}
            }
        }
        let few: &[Observer] = if self.short {
            &[Nobody, Json]
        } else {
            &[Nobody, Json, JsonOtherPort]
        };
        let mut found = self.side_by_side(Kind::ServerFirst, 1, &all)?;
        found.extend(self.side_by_side(Kind::ServerFirst, 2, few)?);
        for kind in [Kind::ClientFirst, Kind::Reset, Kind::Ipv6] {
            found.extend(self.side_by_side(kind, 1, few)?);
        }
        Ok(found)
    }

    fn side_by_side(
        &self,
        kind: Kind,
        threads: u16,
        observers: &[Observer],
    ) -> Result<Vec<FullSpeed>> {
        let mut runs: Vec<Vec<Run>> = observers.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds() {
            for (observer, runs) in observers.iter().zip(&mut runs) {
                runs.push(self.run(*observer, kind, threads, self.connections(), 0)?);
            }
        }
        let speeds = |runs: &[Run]| {
            runs.iter()
                .map(|run| float(run.speed()))
                .collect::<Vec<_>>()
        };
        let alone = runs.first().map_or(0.0, |runs| median(&speeds(runs)));
        let found = observers.iter().zip(runs).map(|(observer, mut runs)| {
            let sum = |of: fn(&Run) -> Option<u64>| runs.iter().map(of).sum::<Option<u64>>();
            let speeds = speeds(&runs);
            let medians = |of: fn(&Run) -> f64| median(&runs.iter().map(of).collect::<Vec<_>>());
            let cpu_s_per_million = medians(Run::cpu_s_per_million);
            let user_s_per_million = medians(Run::user_s_per_million);
            let events = sum(|run| run.cost.events);
            let lost = sum(|run| run.cost.lost);
            let transitions = runs.iter().map(|run| run.transitions).sum();
            let unannounced = runs.iter().map(|run| run.unannounced).sum();
            runs.sort_by_key(Run::speed);
            let result = FullSpeed {
                kind,
                threads,
                observer: *observer,
                rounds: runs.len(),
                speed: whole(median(&speeds)),
                speeds: [runs[0].speed(), runs[runs.len() - 1].speed()],
                change_percent: change(alone, median(&speeds)),
                transitions,
                events,
                lost,
                unannounced,
                cpu_s_per_million,
                user_s_per_million,
                cost: runs.swap_remove(runs.len() / 2).cost,
            };
            eprintln!(
                "{kind:?} ×{threads}, {}: {} connections/s ({:+.1} %), {:.2} CPU s per million, lost {:?}",
                observer.name(), result.speed, result.change_percent, result.cpu_s_per_million, result.lost
            );
            result
        });
        Ok(found.collect())
    }

    fn run(
        &self,
        observer: Observer,
        kind: Kind,
        threads: u16,
        connections: u64,
        rate: u64,
    ) -> Result<Run> {
        on_stage(|| {
            let watching = Watching::start(observer, self.tcpstate, self.files)?;
            let kind = clap::ValueEnum::to_possible_value(&kind).context("a kind has a name")?;
            let done = load(&[
                "connections",
                "--kind",
                kind.get_name(),
                "--threads",
                &threads.to_string(),
                "--connections",
                &connections.to_string(),
                "--rate",
                &rate.to_string(),
            ])?;
            let number = |name: &str| done[name].as_u64().context("the load says what it did");
            let mut run = Run {
                connections: number("connections")?,
                took_ns: number("took_ns")?,
                transitions: number("transitions")?,
                unannounced: 0,
                cost: watching.end()?,
            };
            if matches!(observer, Observer::Json | Observer::Record) {
                run.unannounced = unannounced(&run)?;
            }
            Ok(run)
        })
    }

    /// Nanoseconds in the kernel per run of the program that runs most.
    pub(super) fn kernel(&self) -> Result<Vec<Kernel>> {
        let stats = Stats::on()?;
        let mut found = Vec::new();
        let peers = [Observer::Tcpstates, Observer::Bpftrace, Observer::Empty];
        for observer in [Observer::Json, Observer::JsonOtherPort]
            .into_iter()
            .chain(peers)
        {
            if observer.missing().is_some() || (self.short && !observer.is_ours()) {
                continue;
            }
            let runs = (0..self.rounds())
                .map(|_| self.run(observer, Kind::ServerFirst, 1, self.connections(), 0))
                .collect::<Result<Vec<_>>>()?;
            let each: Vec<f64> = runs
                .iter()
                .map(|run| float(run.cost.run_ns) / float(run.cost.runs.max(1)))
                .collect();
            eprintln!("kernel, {}: {:.0} ns", observer.name(), median(&each));
            found.push(Kernel {
                observer,
                runs: runs.iter().map(|run| run.cost.runs).sum(),
                ns_per_run: median(&each),
            });
        }
        drop(stats);
        Ok(found)
    }

    /// How tcpstate's cost grows with events a second.
    pub(super) fn rates(&self) -> Result<Vec<Rate>> {
        let rates: &[u64] = if self.short {
            &[2_000]
        } else {
            &[1_000, 5_000, 10_000, 20_000, 40_000]
        };
        let mut found = Vec::new();
        for rate in rates {
            let connections = (rate * 5).min(150_000);
            let run = self.run(Observer::Json, Kind::ServerFirst, 1, connections, *rate)?;
            let seconds = float(run.took_ns) / 1e9;
            found.push(Rate {
                speed: run.speed(),
                events_per_second: whole(float(run.transitions) / seconds),
                cpu_percent: float(run.cost.cpu_ns) / 1e7 / (seconds + 1.2),
                lost: run.cost.lost.unwrap_or(0),
                unannounced: run.unannounced,
                peak_kb: run.cost.peak_kb,
            });
        }
        Ok(found)
    }

    fn watch(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.tcpstate);
        command
            .args(["watch", "--netns", "self"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
}

/// One transition in so many may be missing without being counted as lost: a kernel may
/// leave a tracing program out and not say so (docs/performance.md).
const LEFT_OUT_AT_MOST: u64 = 50_000;

/// Nothing that the kernel announced is lost without being counted, and the ring
/// buffer's books balance. Gives the transitions that the kernel did not announce.
fn unannounced(run: &Run) -> Result<u64> {
    let events = run.cost.events.context("the events were counted")?;
    let lost = run.cost.lost.context("the losses were counted")?;
    let made = run.transitions;
    let unannounced = made.saturating_sub(events + lost);
    ensure!(
        unannounced <= made.div_ceil(LEFT_OUT_AT_MOST),
        "{events} events and {lost} lost of {made} transitions",
    );
    ensure!(events <= made, "{events} events of {made} transitions");
    let ledger = run
        .cost
        .ledger
        .as_ref()
        .context("tcpstate -v ends with its ledger")?;
    let number = |name: &str| ledger[name].as_u64().unwrap_or(u64::MAX);
    ensure!(
        number("written") == number("read") && number("undecodable") == 0,
        "the ledger does not add up: {ledger}"
    );
    Ok(unannounced)
}

/// Runs a load to its end and gives what it says.
fn load(arguments: &[&str]) -> Result<Value> {
    let output = spawn_load(arguments)?.wait_with_output()?;
    ensure!(
        output.status.success(),
        "the load {arguments:?} failed: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).context("the load says what it did as JSON")
}

fn spawn_load(arguments: &[&str]) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Command::new(program)
        .args(["bench", "load"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the load")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds and counts to a few digits"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates, far below the limits and never negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
