//! The processes that descend from us. As child subreaper we get those whose parent has
//! ended, so that none of them is lost from sight.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::proc;

/// More are not looked at: a tree of so many is no server.
const MOST: usize = 4096;

/// All that descend from this process and run, at most 4096; a moment later some have ended.
#[must_use]
pub fn descendants() -> Vec<u32> {
    descendants_of(std::process::id())
}

/// The same of another process.
#[must_use]
pub fn descendants_of(pid: u32) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut known = BTreeSet::new();
    let mut at = 0;
    let mut parent = pid;
    loop {
        for child in children(parent) {
            if found.len() < MOST && known.insert(child) {
                found.push(child);
            }
        }
        let Some(next) = found.get(at) else { break };
        parent = *next;
        at += 1;
    }
    found.retain(|pid| proc::stat(*pid).is_some_and(|stat| stat.state != 'Z'));
    found
}

/// Children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(proc::of(pid).join("task")).into_iter();
    let lists = tasks
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// Sends a signal to a process that descends from us, and to no other one that has its number
/// meanwhile.
pub fn send(pid: u32, signal: Signal) {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let before = proc::stat(pid).map(|stat| stat.start_ticks);
    let Ok(fd) = pidfd_open(process, PidfdFlags::empty()) else {
        return;
    };
    let now = proc::stat(pid).map(|stat| stat.start_ticks);
    if before.is_some() && before == now {
        // It may have ended, which is what is wanted.
        let _ = pidfd_send_signal(&fd, signal);
    }
}

/// The sockets that processes descending from us have open, by their inode numbers.
#[must_use]
pub fn open_sockets() -> BTreeSet<u64> {
    open_sockets_of(&descendants())
}

/// The same of these processes.
#[must_use]
pub fn open_sockets_of(pids: &[u32]) -> BTreeSet<u64> {
    let number = |link: PathBuf| -> Option<u64> {
        let number = link.to_str()?.strip_prefix("socket:[")?;
        number.strip_suffix(']')?.parse().ok()
    };
    let folders = pids
        .iter()
        .filter_map(|pid| fs::read_dir(proc::of(*pid).join("fd")).ok());
    folders
        .flat_map(|folder| {
            folder
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok())
        })
        .filter_map(number)
        .collect()
}

/// Whether a process is stopped by a signal.
#[must_use]
pub fn is_stopped(pid: Pid) -> bool {
    let number = pid.as_raw_nonzero().get().unsigned_abs();
    proc::stat(number).is_some_and(|stat| stat.state == 'T')
}
