//! `/proc` of our own pid namespace: notifications name threads by its numbers, whichever
//! view of the host [`crate::snapshot::proc`] goes by.

use std::fs;
use std::path::PathBuf;

use crate::snapshot::proc::Stat;

/// The directory of a process or thread.
#[must_use]
pub fn of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// What its `stat` says; `None`: it is gone.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&fs::read(of(pid).join("stat")).ok()?)
}
