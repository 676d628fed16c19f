//! Completes a failed call with what only user space can see: sockets beyond
//! those that fit into the kernel program's record, the processes that have
//! the holders' descriptors open, and the caller's executable.
//!
//! Done at once, while they are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Live;
use crate::clock;
use crate::event::{Body, Call, Endpoint, Family, Reuse, Seen, SeenHolder, SeenSource, State};
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{owners, sysctl};

/// Holders that are listed one by one; a port of a busy server has tens of
/// thousands in TIME_WAIT, which differ in nothing that matters.
const MAX_LISTED: usize = 64;
/// Owners of a port that the kernel program looks at for certain; below it has
/// seen every socket that is only bound.
const WALKED: u32 = 192;
/// A port whose sockets were read this shortly ago is not read again for the
/// next failure: servers retry in tight loops.
const FRESH_NS: u64 = 250_000_000;

/// The last reading of a port's sockets.
#[derive(Debug)]
pub(super) struct PortReading {
    read_ns: u64,
    netns: u32,
    port: u16,
    holders: Vec<SeenHolder>,
}

impl Live {
    /// Completes the body if it is a failed call.
    pub(super) fn complete(&mut self, body: &mut Body) {
        match body {
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if !call.ok => {
                complete_caller(call);
                self.read_settings(call);
                self.list_all_holders(call);
                name_holders(call);
            }
            _ => {}
        }
    }

    /// The settings that the kernel went by.
    fn read_settings(&mut self, call: &mut Call) {
        let Some(sock) = call.sock else {
            return;
        };
        if let Ok(sysctls) = self.looks.namespaces.inside(sock.netns, sysctl::read) {
            call.sysctls = Some(Box::new(sysctls));
        }
    }

    /// Where the record could not take all sockets of the port, reads them from
    /// the kernel's tables.
    fn list_all_holders(&mut self, call: &mut Call) {
        let (Some(sock), Some(seen)) = (call.sock, &call.seen) else {
            return;
        };
        let port = call
            .local
            .map_or(call.requested.port, |local| local.port)
            .max(call.requested.port);
        if seen.is_complete || port == 0 {
            return;
        }
        let now_ns = clock::monotonic_ns();
        let is_fresh = self.reading.as_ref().is_some_and(|reading| {
            reading.netns == sock.netns
                && reading.port == port
                && now_ns < reading.read_ns + FRESH_NS
        });
        if !is_fresh {
            let Some(holders) = self.read_port(sock.netns, port) else {
                return;
            };
            self.reading = Some(PortReading {
                read_ns: now_ns,
                netns: sock.netns,
                port,
                holders,
            });
        }
        let Some(reading) = &self.reading else {
            return;
        };
        call.seen = Some(merge(seen, &reading.holders));
    }

    /// All sockets of a port; `None`: they cannot be read with their options.
    fn read_port(&mut self, netns: u32, port: u16) -> Option<Vec<SeenHolder>> {
        let items = self.snapshot(netns).ok()?;
        let mut holders: Vec<SeenHolder> = items
            .into_iter()
            .filter(|(_, item)| item.local.port == port && item.reuse.is_some())
            .map(|(_, item)| item.to_holder(None))
            .collect();
        // The iterator does not list sockets that are only bound.
        let bound = self.looks.namespaces.inside(netns, || {
            SockDiag::open(netns).and_then(|mut diag| diag.dump_bound())
        });
        if let Ok(Ok(bound)) = bound {
            holders.extend(
                bound
                    .into_iter()
                    .filter(|item| item.local.port == port)
                    .map(|item| item.to_holder(None)),
            );
        }
        Some(holders)
    }
}

/// What the walk found inside the call, and what was read a moment later.
fn merge(walked: &Seen, read: &[SeenHolder]) -> Seen {
    let mut holders: Vec<SeenHolder> = walked.holders.clone();
    let known: BTreeSet<_> = holders
        .iter()
        .map(|holder| (holder.sock.cookie, holder.local, holder.peer))
        .collect();
    // The walk knows the options of bound sockets, `sock_diag` does not.
    let is_new = |holder: &&SeenHolder| {
        !known.contains(&(holder.sock.cookie, holder.local, holder.peer))
            && (holder.state != State::Bound
                || !walked
                    .holders
                    .iter()
                    .any(|walked| walked.inode == holder.inode))
    };
    holders.extend(read.iter().filter(is_new).cloned());
    let visited = u32::try_from(holders.len()).unwrap_or(u32::MAX);
    Seen {
        source: SeenSource::Snapshot,
        is_complete: walked.visited < WALKED || lists_bound_sockets(),
        visited,
        holders: without_repetition(holders),
    }
}

/// Whether `sock_diag` lists sockets that are only bound: since Linux 6.8, and
/// where it was brought to an older kernel we err towards caution.
fn lists_bound_sockets() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 8))
}

/// Everything that a bind conflict depends on.
type Likeness = (
    Family,
    Endpoint,
    State,
    bool,
    [bool; 3],
    Option<u32>,
    Option<u32>,
);

fn likeness(holder: &SeenHolder) -> Likeness {
    let Reuse {
        reuseaddr,
        reuseport,
        v6only,
    } = holder.reuse;
    let options = [reuseaddr, reuseport, v6only];
    (
        holder.sock.family,
        holder.local,
        holder.state,
        holder.is_mini,
        options,
        holder.bound_dev_if,
        holder.uid,
    )
}

/// Keeps of the sockets that are alike in everything that a bind conflict
/// depends on the longest lasting ones, and counts the others.
fn without_repetition(holders: Vec<SeenHolder>) -> Vec<SeenHolder> {
    let is_one_of_many =
        |holder: &SeenHolder| !matches!(holder.state, State::Listen | State::Bound);
    let (many, mut listed): (Vec<_>, Vec<_>) = holders.into_iter().partition(is_one_of_many);
    let mut by_likeness: BTreeMap<Likeness, Vec<SeenHolder>> = BTreeMap::new();
    for holder in many {
        by_likeness
            .entry(likeness(&holder))
            .or_default()
            .push(holder);
    }
    let each = (MAX_LISTED / by_likeness.len().max(1)).max(1);
    for mut alike in by_likeness.into_values() {
        alike.sort_by_key(|holder| std::cmp::Reverse(holder.expires_ms));
        let left_out = alike.len().saturating_sub(each);
        alike.truncate(each);
        if let Some(first) = alike.first_mut() {
            first.alike = u32::try_from(left_out).unwrap_or(u32::MAX);
        }
        listed.extend(alike);
    }
    listed
}

/// The kernel program captured name, user and arguments; executable and cgroup
/// are read from `/proc` if the process is still the same.
fn complete_caller(call: &mut Call) {
    let Some(now) = owners::process(call.process.pid) else {
        return;
    };
    if now.ppid != call.process.ppid {
        return;
    }
    let process = Arc::make_mut(&mut call.process);
    process.exe = process.exe.take().or(now.exe);
    process.argv = process.argv.take().or(now.argv);
    process.cgroup = process.cgroup.take().or(now.cgroup);
    process.container = process.container.take().or(now.container);
}

fn name_holders(call: &mut Call) {
    let Some(seen) = &mut call.seen else {
        return;
    };
    let inodes: BTreeSet<u64> = seen
        .holders
        .iter()
        .filter_map(|holder| holder.inode)
        .collect();
    let found = owners::holders(&inodes);
    for holder in &mut seen.holders {
        if let Some(inode) = holder.inode {
            holder.processes = Some(found.get(&inode).cloned().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sock;

    fn time_wait(peer_port: u16, expires_ms: u64, reuseaddr: bool) -> SeenHolder {
        let addr = std::net::IpAddr::from([127, 0, 0, 1]);
        SeenHolder {
            sock: Sock {
                cookie: u64::from(peer_port),
                netns: 1,
                family: Family::Ipv4,
            },
            local: Endpoint { addr, port: 8080 },
            peer: Endpoint {
                addr,
                port: peer_port,
            },
            state: State::TimeWait,
            is_mini: true,
            reuse: Reuse {
                reuseaddr,
                ..Reuse::default()
            },
            bound_dev_if: None,
            uid: None,
            is_connect_bound: None,
            is_port_locked: None,
            inode: None,
            expires_ms: Some(expires_ms),
            alike: 0,
            processes: None,
        }
    }

    #[test]
    fn of_many_alike_the_longest_lasting_are_listed_and_the_others_counted() {
        let mut holders: Vec<_> = (1..=1000)
            .map(|port| time_wait(port, u64::from(port) * 10, true))
            .collect();
        holders.push(time_wait(2000, 5, false));

        let listed = without_repetition(holders);

        let total: u32 = listed.iter().map(|holder| 1 + holder.alike).sum();
        assert_eq!(total, 1001);
        assert!(listed.len() <= MAX_LISTED);
        assert!(
            listed.iter().any(|holder| !holder.reuse.reuseaddr),
            "the odd one decides and is listed"
        );
        assert_eq!(
            listed.iter().filter_map(|holder| holder.expires_ms).max(),
            Some(10_000)
        );
    }
}
