//! What a run of the benchmark found: the machine-readable results, from which
//! the tables are made.

use serde::Serialize;

use super::load::Kind;
use super::machine::Machine;
use super::observer::{Cost, Observer};

/// All of it; a part that was not measured is empty.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    /// Peers that are not there, and why.
    pub(super) absent: Vec<String>,
    pub(super) full_speed: Vec<FullSpeed>,
    pub(super) kernel: Vec<Kernel>,
    pub(super) rates: Vec<Rate>,
    pub(super) start: Option<Start>,
    pub(super) populations: Vec<Population>,
    /// A process that never touches a socket.
    pub(super) syscalls: Vec<Beside>,
    /// A process that makes a socket, binds and closes it, again and again.
    pub(super) binds: Vec<Beside>,
    pub(super) diagnoses: Vec<Diagnoses>,
    pub(super) failed_calls: Vec<FailedCalls>,
    pub(super) frames: Vec<Frames>,
    pub(super) keys: Option<Keys>,
}

/// A load at full speed with one observer; medians over the rounds.
#[derive(Debug, Serialize)]
pub(super) struct FullSpeed {
    pub(super) kind: Kind,
    pub(super) threads: u16,
    pub(super) observer: Observer,
    pub(super) rounds: usize,
    /// Connections a second.
    pub(super) speed: u64,
    /// The slowest and the fastest round.
    pub(super) speeds: [u64; 2],
    /// Against nobody in the same rounds; negative: slower.
    pub(super) change_percent: f64,
    /// State changes that the load made, all rounds together.
    pub(super) transitions: u64,
    /// Of all rounds together.
    pub(super) events: Option<u64>,
    pub(super) lost: Option<u64>,
    /// Of tcpstate: made, neither told nor lost, all rounds together.
    pub(super) unannounced: u64,
    /// Processor seconds per million state changes of the load.
    pub(super) cpu_s_per_million: f64,
    /// The part of it outside the kernel.
    pub(super) user_s_per_million: f64,
    /// The median round.
    pub(super) cost: Cost,
}

/// Time in the kernel, by `bpf_stats`.
#[derive(Debug, Serialize)]
pub(super) struct Kernel {
    pub(super) observer: Observer,
    pub(super) runs: u64,
    pub(super) ns_per_run: f64,
}

/// A load at a stated rate, watched by tcpstate with JSON to a file.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// Connections a second that were made.
    pub(super) speed: u64,
    pub(super) events_per_second: u64,
    /// Of one processor.
    pub(super) cpu_percent: f64,
    pub(super) lost: u64,
    /// Made, neither told nor lost.
    pub(super) unannounced: u64,
    pub(super) peak_kb: u64,
}

/// From the start of `tcpstate watch --json` on a stage with steady traffic.
#[derive(Debug, Serialize)]
pub(super) struct Start {
    pub(super) rounds: usize,
    /// Until the first state change is on stdout; median and slowest.
    pub(super) first_event_ms: [f64; 2],
    /// Hooks on, as `-v` says; median.
    pub(super) hooks_ms: Option<f64>,
    /// Resident memory of an idle watch after a second.
    pub(super) idle_kb: u64,
}

/// Sockets that were there before.
#[derive(Debug, Serialize)]
pub(super) struct Population {
    pub(super) sockets: u64,
    pub(super) state: &'static str,
    /// Sockets that the first table had.
    pub(super) listed: u64,
    /// From the start to the table complete in JSON; median.
    pub(super) table_ms: f64,
    /// The kernel's list alone, options and time left included; median.
    pub(super) listing_ms: Option<f64>,
    /// `ss -Htano` to a file; median.
    pub(super) ss_ms: Option<f64>,
    pub(super) peak_kb: u64,
    /// Of one processor, five seconds of watching them with nothing happening.
    pub(super) idle_cpu_percent: f64,
}

/// What a process's calls take beside an observer.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    pub(super) observer: Observer,
    pub(super) calls: u64,
    /// Nanoseconds of each, from the first to the last; median.
    pub(super) each_ns: f64,
    /// Against nobody.
    pub(super) change_percent: f64,
    /// The process's own processor time; median.
    pub(super) own_ns: f64,
    pub(super) own_change_percent: f64,
}

/// From the return of a failed `bind` to its diagnosis on stdout.
#[derive(Debug, Serialize)]
pub(super) struct Diagnoses {
    pub(super) beside: &'static str,
    pub(super) binds: usize,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
}

/// A server's failed binds beside a user who fails as many calls as he can, and has
/// descriptors open.
#[derive(Debug, Serialize)]
pub(super) struct FailedCalls {
    /// Failed calls a second that were made beside the server's.
    pub(super) rate: u64,
    pub(super) processes: u64,
    pub(super) descriptors: u64,
    /// Of those calls; together they are all.
    pub(super) explained: u64,
    pub(super) counted: u64,
    /// From the server's failed bind to its diagnosis on stdout.
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
    /// Of one processor.
    pub(super) cpu_percent: f64,
    pub(super) peak_kb: u64,
}

/// Drawing the dashboard over a table of this size, as `frame_cost` says.
#[derive(Debug, Serialize)]
pub(super) struct Frames {
    pub(super) sockets: u64,
    pub(super) median_us: u64,
    pub(super) p99_us: u64,
    pub(super) worst_us: u64,
}

/// From a key to the screen that it asks for, beside the load at full speed.
#[derive(Debug, Serialize)]
pub(super) struct Keys {
    pub(super) sockets: u64,
    pub(super) pressed: usize,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
}

/// The middle one; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// The value below which this share of the values lies.
pub(super) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0.0)
}

/// In percent of `before`.
pub(super) fn change(before: f64, after: f64) -> f64 {
    if before == 0.0 {
        return 0.0;
    }
    (after / before - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_of_the_sorted_values() {
        let values = [5.0, 1.0, 9.0, 3.0];

        assert!((median(&values) - 4.0).abs() < 1e-9);
        assert!((median(&values[..3]) - 5.0).abs() < 1e-9);
        assert!((percentile(&values, 99) - 9.0).abs() < 1e-9);
        assert!((percentile(&[], 99)).abs() < 1e-9);
        assert!((change(100.0, 92.0) + 8.0).abs() < 1e-9);
    }
}
