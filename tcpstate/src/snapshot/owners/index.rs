//! All open sockets and who has them, read in one pass: it answers for every socket that
//! is asked about, until it is too old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::{
    MAX_HOLDERS_ARGV, MAX_LISTED, exe, open_descriptors, pids, process, socket_inode, unit,
    with_identity,
};
use crate::clock;
use crate::event::Process;
use crate::snapshot::cgroup::Units;
use crate::snapshot::open_sockets::Descriptors;
use crate::snapshot::{executable, proc};

/// Descriptors of sockets that are kept: 32 MB. Where there are more, nobody is named.
const MAX_ENTRIES: usize = 2 << 20;
/// Processes of one question that are looked at; the others of a socket are counted.
const MAX_LOOKED_AT: usize = 2_048;

/// The processes that have a socket open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holders {
    /// By pid.
    pub processes: Vec<Arc<Process>>,
    /// Further ones, which were counted and not read.
    pub more: u32,
}

impl Holders {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.more == 0
    }
}

/// Who has which socket open.
#[derive(Debug)]
pub(crate) struct Index {
    /// What was open before that is in it.
    pub(crate) began_ns: u64,
    /// Socket, process, descriptor; in this order.
    entries: Vec<(u64, u32, u32)>,
}

impl Index {
    /// Reads all, through the iterator or, without one, through `/proc`. `None`: it was
    /// not done before `until_ns`, or could not be.
    pub(crate) fn read(descriptors: Option<Descriptors>, until_ns: u64) -> Option<Self> {
        let began_ns = clock::monotonic_ns();
        let mut entries = Vec::new();
        let read = descriptors.map(|pass| {
            let go_on = || clock::monotonic_ns() < until_ns;
            pass.read(go_on, |inode, pid, fd| {
                if entries.len() <= MAX_ENTRIES {
                    entries.push((inode, pid, fd));
                }
            })
        });
        let is_whole = if let Some(Ok(is_whole)) = read {
            is_whole
        } else {
            // The iterator is refused here.
            entries.clear();
            walk(until_ns, &mut entries)
        };
        if !is_whole || entries.len() > MAX_ENTRIES {
            return None;
        }
        entries.sort_unstable();
        Some(Self { began_ns, entries })
    }

    /// Whether somebody has all of these open.
    pub(crate) fn knows(&self, inodes: &BTreeSet<u64>) -> bool {
        inodes.iter().all(|inode| !self.of(*inode).is_empty())
    }

    /// For each of these sockets the processes that have it open; those are read that may
    /// be listed. `first`: who comes before others.
    ///
    /// Processes that may not be looked into are left out.
    pub(crate) fn holders(
        &self,
        inodes: &BTreeSet<u64>,
        first: &BTreeSet<u32>,
    ) -> BTreeMap<u64, Holders> {
        let mut by_pid: BTreeMap<(bool, u32), Vec<(u64, u32)>> = BTreeMap::new();
        for (inode, pid, fd) in inodes.iter().flat_map(|inode| self.of(*inode)) {
            let rank = (!first.contains(pid), *pid);
            by_pid.entry(rank).or_default().push((*inode, *fd));
        }
        let mut by_socket: BTreeMap<u64, Vec<OpenDescriptor>> = BTreeMap::new();
        let mut found: BTreeMap<u64, Holders> = BTreeMap::new();
        for (index, ((_, pid), open)) in by_pid.into_iter().enumerate() {
            if index >= MAX_LOOKED_AT {
                let sockets: BTreeSet<u64> = open.iter().map(|(inode, _)| *inode).collect();
                for inode in sockets {
                    found.entry(inode).or_default().more += 1;
                }
            } else if let Some((held, holder)) = OpenDescriptor::look_at(pid, &open) {
                for (inode, descriptor) in held {
                    by_socket.entry(inode).or_default().push(OpenDescriptor {
                        descriptor,
                        ..holder.clone()
                    });
                }
            }
        }
        let mut units = Units::default();
        let mut read: BTreeMap<u32, Option<Arc<Process>>> = BTreeMap::new();
        for (inode, all) in by_socket {
            let holders = found.entry(inode).or_default();
            let (to_read, more) = OpenDescriptor::most_specific(all, first);
            holders.more = holders.more.saturating_add(more);
            let processes = to_read.into_iter().filter_map(|holder| {
                let read = read
                    .entry(holder.pid)
                    .or_insert_with(|| holder.read(&mut units));
                let process = read.as_deref()?.clone();
                Some(Arc::new(Process {
                    descriptor: Some(holder.descriptor),
                    ..process
                }))
            });
            holders.processes = processes.collect();
            holders.processes.sort_by_key(|process| process.pid);
        }
        found
    }

    /// For each of these sockets the process with the lowest pid that has it open, as far
    /// as they could be read before `until_ns`.
    pub(crate) fn first_holders(
        &self,
        inodes: &BTreeSet<u64>,
        until_ns: u64,
    ) -> BTreeMap<u64, Arc<Process>> {
        let mut read: BTreeMap<u32, Option<Arc<Process>>> = BTreeMap::new();
        let mut found = BTreeMap::new();
        for inode in inodes {
            if clock::monotonic_ns() >= until_ns {
                break;
            }
            let first = self.of(*inode).iter().find_map(|(_, pid, _)| {
                let read = read.entry(*pid).or_insert_with(|| {
                    let process = process(*pid)?.with_short_argv(MAX_HOLDERS_ARGV);
                    Some(Arc::new(process))
                });
                read.clone()
            });
            if let Some(first) = first {
                found.insert(*inode, first);
            }
        }
        found
    }

    fn of(&self, inode: u64) -> &[(u64, u32, u32)] {
        let from = self.entries.partition_point(|entry| entry.0 < inode);
        let len = self.entries[from..].partition_point(|entry| entry.0 == inode);
        &self.entries[from..from + len]
    }
}

/// Through `/proc`, process by process. `false`: there was no time for all of them.
fn walk(until_ns: u64, entries: &mut Vec<(u64, u32, u32)>) -> bool {
    for pid in pids() {
        if clock::monotonic_ns() >= until_ns {
            return false;
        }
        for (fd, inode) in open_descriptors(pid) {
            if entries.len() > MAX_ENTRIES || clock::monotonic_ns() >= until_ns {
                return false;
            }
            entries.push((inode, pid, fd));
        }
    }
    true
}

/// A process that has sockets open, before all of it is read.
#[derive(Clone, Debug)]
struct OpenDescriptor {
    pid: u32,
    start_ticks: u64,
    comm: Arc<str>,
    exe: Option<Arc<str>>,
    /// The lowest one that it has of the socket.
    descriptor: u32,
}

impl OpenDescriptor {
    /// With which of these sockets it still has open, and as which descriptors; `None`: none of
    /// them.
    fn look_at(pid: u32, open: &[(u64, u32)]) -> Option<(BTreeMap<u64, u32>, Self)> {
        let stat = proc::stat(pid)?;
        let folder = proc::of(pid).join("fd");
        let mut held = BTreeMap::new();
        for (inode, fd) in open {
            if !held.contains_key(inode)
                && fs::read_link(folder.join(fd.to_string()))
                    .is_ok_and(|link| socket_inode(link.as_os_str().as_bytes()) == Some(*inode))
            {
                held.insert(*inode, *fd);
            }
        }
        let holder = Self {
            descriptor: 0,
            pid,
            start_ticks: stat.start_ticks,
            comm: stat.comm,
            exe: exe(pid),
        };
        (!held.is_empty()).then_some((held, holder))
    }

    /// Those that may be listed, and how many more there are: one of each program is
    /// among them.
    fn most_specific(all: Vec<Self>, first: &BTreeSet<u32>) -> (Vec<Self>, u32) {
        let mut programs = BTreeSet::new();
        let mut ranked: Vec<(u8, Self)> = all
            .into_iter()
            .map(|holder| {
                let is_new = programs.insert((Arc::clone(&holder.comm), holder.exe.clone()));
                let rank = match holder.pid {
                    pid if first.contains(&pid) => 0,
                    _ if is_new => 1,
                    _ => 2,
                };
                (rank, holder)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let more = ranked.len().saturating_sub(MAX_LISTED);
        ranked.truncate(MAX_LISTED);
        let listed = ranked.into_iter().map(|(_, holder)| holder).collect();
        (listed, u32::try_from(more).unwrap_or(u32::MAX))
    }

    /// All of it; `None`: another process has got its number in between.
    fn read(&self, units: &mut Units) -> Option<Arc<Process>> {
        let mut process = with_identity(process(self.pid)?.with_short_argv(MAX_HOLDERS_ARGV));
        process.language = executable::language(self.pid);
        process.unit = unit(&process, units);
        let still = proc::stat(self.pid)?.start_ticks;
        (still == self.start_ticks).then(|| Arc::new(process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_has_open_has_no_holders() {
        let index = Index {
            began_ns: 5,
            entries: vec![(7, 1, 0), (9, 1, 3), (9, 2, 3)],
        };

        assert_eq!(index.of(9).len(), 2);
        assert!(index.of(8).is_empty() && index.of(10).is_empty());
        assert!(index.knows(&BTreeSet::from([7, 9])));
        assert!(!index.knows(&BTreeSet::from([7, 8])));
    }

    #[test]
    fn a_walk_that_runs_out_of_time_is_no_answer() {
        assert!(Index::read(None, 0).is_none());
    }

    #[test]
    fn who_has_closed_the_socket_since_is_no_holder() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&socket)).unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let inode = socket_inode(link.as_os_str().as_bytes()).unwrap();
        let pid = std::process::id();
        let index = Index {
            began_ns: 5,
            entries: vec![(inode, pid, fd)],
        };
        let inodes = BTreeSet::from([inode]);

        assert_eq!(
            index.holders(&inodes, &BTreeSet::new())[&inode]
                .processes
                .len(),
            1
        );
        drop(socket);
        assert!(index.holders(&inodes, &BTreeSet::new()).is_empty());
    }
}
