//! On what the numbers were measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// A machine at a time.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    processor: String,
    processors: usize,
    memory_gb: u64,
    kernel: String,
    /// UTC.
    date: String,
    /// Of one, five and fifteen minutes, as the run began.
    load_average: String,
    profile: String,
    commit: String,
}

impl Machine {
    pub(super) fn here(short: bool) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            read(path)
                .lines()
                .find_map(|line| {
                    Some(
                        line.strip_prefix(name)?
                            .trim_start_matches([':', ' ', '\t'])
                            .to_owned(),
                    )
                })
                .unwrap_or_default()
        };
        let say = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).output().map_or_else(
                |_| String::new(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )
        };
        let memory_kb: u64 = field("/proc/meminfo", "MemTotal")
            .split_whitespace()
            .next()
            .and_then(|kb| kb.parse().ok())
            .unwrap_or(0);
        let load = read("/proc/loadavg");
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gb: memory_kb >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: say("date", &["-u", "+%Y-%m-%d %H:%M"]),
            load_average: load
                .split_whitespace()
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            profile: if short { "short" } else { "full" }.to_owned(),
            commit: say("git", &["rev-parse", "--short", "HEAD"]),
        }
    }

    /// One line for a person.
    pub(super) fn line(&self) -> String {
        let Self {
            processor,
            processors,
            memory_gb,
            kernel,
            date,
            load_average,
            profile,
            commit,
        } = self;
        format!(
            "{processors} × {processor}, {memory_gb} GB, Linux {kernel}, {date} UTC, load average \
             {load_average} at the start; {profile} form, commit {commit}."
        )
    }
}
