//! Another process: what `/proc` says about it, and its end.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::stopwatch::Stopwatch;

/// An observer must be ready and gone within this.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Clock ticks of `/proc/PID/stat` in a second (`USER_HZ`, the same everywhere).
const TICKS: u64 = 100;

/// SIGINT, as on a terminal; what does not go then is killed.
pub(super) fn end(child: &mut Child) -> Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    let began = Stopwatch::start();
    while child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            bail!("an observer does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Runs and nanoseconds of each BPF program that a process holds.
pub(super) fn programs(pid: u32) -> Vec<(u64, u64)> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter(|info| info.contains("prog_id:") && info.contains("run_cnt:"))
        .map(|info| (field(&info, "run_cnt:"), field(&info, "run_time_ns:")))
        .collect()
}

pub(super) fn status_kb(pid: u32, name: &str) -> u64 {
    field(
        &fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(),
        name,
    )
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

/// Processor time of a process and of its children that have ended, to 10 ms.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) user_ns: u64,
    system_ns: u64,
}

impl Spent {
    pub(super) fn by(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, which may hold anything, ends with the last bracket.
        let Some((_, fields)) = stat.rsplit_once(')') else {
            return Self::default();
        };
        let mut times = fields
            .split_whitespace()
            .skip(11)
            .map(|ticks| ticks.parse::<u64>().unwrap_or(0) * (1_000_000_000 / TICKS));
        let mut next = || times.next().unwrap_or(0);
        let [user, system, user_of_children, system_of_children] = std::array::from_fn(|_| next());
        Self {
            user_ns: user + user_of_children,
            system_ns: system + system_of_children,
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
        }
    }

    pub(super) fn all_ns(self) -> u64 {
        self.user_ns + self.system_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found_by_name() {
        let info = "prog_type:\t26\nprog_id:\t7\nrun_time_ns:\t1200\nrun_cnt:\t10\n";

        assert_eq!(
            (field(info, "run_cnt:"), field(info, "run_time_ns:")),
            (10, 1200)
        );
        assert_eq!(field(info, "nothing:"), 0);
    }
}
