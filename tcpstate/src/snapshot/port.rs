//! Everything that holds one port: what the kernel program walked past, put
//! together with what the kernel's tables and `/proc` list.

use std::collections::{BTreeMap, BTreeSet};

use tcpstate_common::record::MAX_PER_ADDRESS;
use tcpstate_common::release::numbers;

use super::sock_diag::SockDiag;
use super::{SocketItem, owners, proc};
use crate::event::{Endpoint, Family, Seen, SeenHolder, SeenSource, State};

/// Holders that are listed one by one; a port of a busy server has tens of
/// thousands in TIME_WAIT, which differ in nothing that matters.
const MAX_LISTED: usize = 64;
/// The port's holders among what an iterator listed, with those that are only
/// bound, which no iterator lists.
#[must_use]
pub fn holders(
    port: u16,
    listed: impl IntoIterator<Item = SocketItem>,
    bound: Vec<SocketItem>,
) -> Vec<SeenHolder> {
    listed
        .into_iter()
        .filter(|item| item.reuse.is_some())
        .chain(bound)
        .filter(|item| item.local.port == port)
        .map(|item| item.to_holder(None))
        .collect()
}

/// The sockets of the calling thread's namespace that are only bound to the
/// port; none where the kernel cannot be asked.
#[must_use]
pub fn bound_sockets(netns: u32, port: u16) -> Vec<SocketItem> {
    let bound = SockDiag::open(netns).and_then(|mut diag| diag.dump_bound());
    let mut bound = bound.unwrap_or_default();
    bound.retain(|item| item.local.port == port);
    bound
}

/// Adds to each holder the processes that have its descriptor open. `opener`: who is
/// known to have opened it, and is listed whatever else is not.
pub fn name_processes(seen: &mut Seen, opener: impl Fn(&SeenHolder) -> Option<u32>) {
    let found = owners::holders(&unnamed(seen));
    list_processes(seen, &found, opener);
}

/// The sockets whose processes are not listed.
#[must_use]
pub fn unnamed(seen: &Seen) -> BTreeSet<u64> {
    let holders = seen.holders.iter();
    holders
        .filter(|holder| holder.processes.is_none())
        .filter_map(|holder| holder.inode)
        .collect()
}

/// The same with what was found already.
pub(crate) fn list_processes(
    seen: &mut Seen,
    found: &BTreeMap<u64, owners::Holders>,
    opener: impl Fn(&SeenHolder) -> Option<u32>,
) {
    let nobody = owners::Holders::default();
    let mut left = owners::MAX_BYTES;
    for holder in &mut seen.holders {
        // The kernel's own has an inode and no descriptor.
        if let (Some(inode), None) = (holder.inode, &holder.processes) {
            let found = found.get(&inode).unwrap_or(&nobody);
            let opener = opener(holder);
            let (listed, more) = owners::listed(found, opener, &mut left);
            let is_open_nowhere = listed.is_empty() && more == 0;
            holder.is_opener_gone =
                is_open_nowhere && opener.is_some_and(|pid| proc::stat(pid).is_none());
            holder.processes = Some(listed);
            holder.processes_more = more;
        }
    }
}

/// What the walk found inside the call, and what was read a moment later.
#[must_use]
pub fn merge(walked: &Seen, read: &[SeenHolder]) -> Seen {
    let all = merge_all(walked, read);
    let (holders, holders_more) = without_repetition(all.holders);
    Seen {
        is_complete: holders_more == 0 && all.is_complete,
        holders,
        holders_more,
        ..all
    }
}

/// The same with every single socket, however many there are.
#[must_use]
pub fn merge_all(walked: &Seen, read: &[SeenHolder]) -> Seen {
    let mut holders: Vec<SeenHolder> = walked.holders.clone();
    // Cookies do not serve: reading may be what gives a socket its cookie. Two
    // sockets with the same ends are told apart by their files.
    let identity =
        |holder: &SeenHolder| (holder.sock.family, holder.local, holder.peer, holder.inode);
    let known: BTreeSet<_> = holders.iter().map(identity).collect();
    let is_new = |holder: &&SeenHolder| !known.contains(&identity(holder));
    holders.extend(read.iter().filter(is_new).cloned());
    let visited = u32::try_from(holders.len()).unwrap_or(u32::MAX);
    Seen {
        source: SeenSource::Snapshot,
        is_complete: has_walked_all_bound(walked) || lists_bound_sockets(),
        visited,
        holders,
        holders_more: 0,
        sharing: walked.sharing,
        admits_reuseaddr: walked.admits_reuseaddr,
        processes_unread: walked.processes_unread,
    }
}

/// Below this number the walk has visited every socket that is only bound.
fn has_walked_all_bound(walked: &Seen) -> bool {
    walked.source == SeenSource::BindBucket && walked.visited < u32::from(MAX_PER_ADDRESS)
}

/// Whether `sock_diag` lists sockets that are only bound: since Linux 6.8, and
/// where it was brought to an older kernel we err towards caution.
#[must_use]
pub fn lists_bound_sockets() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    numbers(&release).is_some_and(|release| release >= (6, 8))
}

/// Everything that a bind conflict depends on.
type Likeness = (
    Family,
    Endpoint,
    State,
    bool,
    Option<[bool; 3]>,
    Option<u32>,
    Option<u32>,
);

fn likeness(holder: &SeenHolder) -> Likeness {
    let options = holder
        .reuse
        .map(|reuse| [reuse.reuseaddr, reuse.reuseport, reuse.v6only]);
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
/// depends on the longest lasting ones, and counts the others. Listeners and sockets
/// that are only bound are all kept, unless they are too many as well. Gives how many
/// are neither kept nor counted with one that is.
fn without_repetition(holders: Vec<SeenHolder>) -> (Vec<SeenHolder>, u32) {
    let stays = |holder: &&SeenHolder| matches!(holder.state, State::Listen | State::Bound);
    let are_too_many = holders.iter().filter(stays).count() > MAX_LISTED / 2;
    let is_one_of_many =
        |holder: &SeenHolder| (are_too_many || !stays(&holder)) && !holder.is_tripped_over;
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
    if listed.len() <= MAX_LISTED + MAX_LISTED / 2 {
        return (listed, 0);
    }
    // All different: those that stay longest tell most.
    listed.sort_by_key(|holder| match holder.state {
        _ if holder.is_tripped_over => 0,
        State::Listen => 1,
        State::Bound => 2,
        _ => 3,
    });
    let left_out = listed.split_off(MAX_LISTED);
    let count: u64 = left_out
        .iter()
        .map(|holder| 1 + u64::from(holder.alike))
        .sum();
    (listed, u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Process, Reuse, Sock};

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
            reuse: Some(Reuse {
                reuseaddr,
                ..Reuse::default()
            }),
            v6only: None,
            bound_dev_if: None,
            uid: None,
            is_connect_bound: None,
            is_port_locked: None,
            inode: None,
            expires_ms: Some(expires_ms),
            alike: 0,
            is_tripped_over: false,
            processes: None,
            processes_more: 0,
            is_opener_gone: false,
        }
    }

    #[test]
    fn a_socket_that_got_its_cookie_in_between_is_not_counted_twice() {
        let walked = Seen {
            source: SeenSource::BindBucket,
            is_complete: false,
            visited: 1,
            holders: vec![SeenHolder {
                sock: Sock {
                    cookie: 0,
                    ..time_wait(1, 50, true).sock
                },
                ..time_wait(1, 50, true)
            }],
            holders_more: 0,
            sharing: None,
            admits_reuseaddr: false,
            processes_unread: None,
        };

        let all = merge(&walked, &[time_wait(1, 40, true), time_wait(2, 40, true)]);

        let total: u32 = all.holders.iter().map(|holder| 1 + holder.alike).sum();
        assert_eq!(total, 2);
    }

    #[test]
    fn of_many_alike_the_longest_lasting_are_listed_and_the_others_counted() {
        let mut holders: Vec<_> = (1..=1000)
            .map(|port| time_wait(port, u64::from(port) * 10, true))
            .collect();
        holders.push(time_wait(2000, 5, false));
        holders[0].is_tripped_over = true;

        let (listed, _) = without_repetition(holders);

        let total: u32 = listed.iter().map(|holder| 1 + holder.alike).sum();
        assert_eq!(total, 1001);
        assert!(listed.len() <= MAX_LISTED);
        assert!(listed.iter().any(|holder| holder.is_tripped_over));
        assert!(
            listed
                .iter()
                .any(|holder| holder.reuse == Some(Reuse::default())),
            "the odd one decides and is listed"
        );
        assert_eq!(
            listed.iter().filter_map(|holder| holder.expires_ms).max(),
            Some(10_000)
        );
    }

    fn listener(address: u32, inode: u64) -> SeenHolder {
        let mut socket = time_wait(0, 0, true);
        socket.local.addr = std::net::Ipv4Addr::from(0x7f00_0000 + address).into();
        socket.state = State::Listen;
        socket.is_mini = false;
        socket.expires_ms = None;
        socket.inode = Some(inode);
        socket
    }

    #[test]
    fn fifty_thousand_listeners_are_counted_and_a_few_listed() {
        let alike = (0..50_000).map(|inode| listener(1, inode)).collect();
        let (listed, more) = without_repetition(alike);
        assert_eq!((listed.len(), more), (MAX_LISTED, 0));
        let count: u64 = listed.iter().map(|held| 1 + u64::from(held.alike)).sum();
        assert_eq!(count, 50_000);

        let different = (0..50_000_u32).map(|at| listener(at, u64::from(at)));
        let (listed, more) = without_repetition(different.collect());
        assert_eq!((listed.len(), more), (MAX_LISTED, 50_000 - 64));
    }

    /// As much as `/proc` can tell of one process, in characters that JSON escapes.
    fn worst(pid: u32) -> Arc<Process> {
        let long = "\u{1}".repeat(4_096);
        let argv: Vec<String> = vec![long.clone()];
        let process = Process {
            argv: Some(argv.into()),
            exe: Some(long.as_str().into()),
            cgroup: Some(long.as_str().into()),
            parent: Some("\u{1}".repeat(16).into()),
            ..Process::new(pid, 1, "\u{1}".repeat(16), crate::event::KnownBy::Proc)
        };
        Arc::new(process.with_short_argv(512))
    }

    /// A failed bind as a real kernel reported it.
    fn recorded_call() -> Box<crate::event::Call> {
        include_str!("../../tests/data/recordings/schema-1.jsonl")
            .lines()
            .filter_map(|line| crate::export::json::read_line(line.as_bytes()).ok()?.1)
            .find_map(|event| match event.body {
                crate::event::Body::Bind(call) if !call.ok => Some(call),
                _ => None,
            })
            .unwrap()
    }

    #[test]
    fn the_largest_failed_call_and_its_diagnosis_are_far_below_the_limit_of_a_line() {
        use crate::engine::{Engine, Limits};
        use crate::event::Body;

        const MOST: usize = 256 << 10;
        let workers: Vec<Arc<Process>> = (1..=1_800).map(worst).collect();
        let small = |process: &Process| {
            Arc::new(Process::new(
                process.pid,
                1,
                "worker",
                crate::event::KnownBy::Proc,
            ))
        };
        let modest: Vec<Arc<Process>> = workers.iter().map(|process| small(process)).collect();
        for (processes, sockets) in [(&workers, 1), (&workers, 96), (&modest, 96)] {
            let mut call = recorded_call();
            call.process = worst(7);
            let seen = call.seen.as_mut().unwrap();
            seen.holders = (0..sockets).map(|at| listener(at, u64::from(at))).collect();
            let held = owners::Holders {
                processes: processes.clone(),
                more: 0,
            };
            let found = (0..u64::from(sockets)).map(|inode| (inode, held.clone()));

            list_processes(seen, &found.collect(), |_| Some(1_700));
            for holder in &seen.holders {
                let listed = holder.processes.as_ref().unwrap();
                assert!((1..=16).contains(&listed.len()));
                assert!(listed.iter().any(|process| process.pid == 1_700));
                assert_eq!(listed.len() + holder.processes_more as usize, 1_800);
            }
            let mut engine = Engine::new(Limits::default());
            engine.observe(5, Body::Bind(call));

            assert_eq!(engine.log().iter().count(), 2);
            for event in engine.log().iter() {
                let mut line = Vec::new();
                let clock = crate::event::ClockAnchor {
                    mono_ns: 0,
                    realtime: 0,
                };
                crate::export::json::write_line(event, clock, &mut line).unwrap();
                assert!(line.len() < MOST, "{} {}", event.body.name(), line.len());
            }
        }
    }
}
