//! Everything that holds one port: what the kernel program walked past, put
//! together with what the kernel's tables and `/proc` list.

use std::collections::{BTreeMap, BTreeSet};

use super::sock_diag::SockDiag;
use super::{SocketItem, owners};
use crate::event::{Endpoint, Family, Seen, SeenHolder, SeenSource, State};

/// Holders that are listed one by one; a port of a busy server has tens of
/// thousands in TIME_WAIT, which differ in nothing that matters.
const MAX_LISTED: usize = 64;
/// Owners of a port that the kernel program looks at for certain; below it has
/// seen every socket that is only bound.
const WALKED: u32 = 192;

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

/// Adds to each holder all processes that have its descriptor open.
pub fn name_processes(seen: &mut Seen) {
    let inodes: BTreeSet<u64> = seen
        .holders
        .iter()
        .filter_map(|holder| holder.inode)
        .collect();
    let found = owners::holders(&inodes);
    for holder in &mut seen.holders {
        // The kernel's own has an inode and no descriptor.
        if let (Some(inode), None) = (holder.inode, &holder.processes) {
            holder.processes = Some(found.get(&inode).cloned().unwrap_or_default());
        }
    }
}

/// What the walk found inside the call, and what was read a moment later.
#[must_use]
pub fn merge(walked: &Seen, read: &[SeenHolder]) -> Seen {
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
        holders: without_repetition(holders),
        sharing: walked.sharing,
        admits_reuseaddr: walked.admits_reuseaddr,
    }
}

fn has_walked_all_bound(walked: &Seen) -> bool {
    walked.source == SeenSource::BindBucket && walked.visited < WALKED
}

/// Whether `sock_diag` lists sockets that are only bound: since Linux 6.8, and
/// where it was brought to an older kernel we err towards caution.
#[must_use]
pub fn lists_bound_sockets() -> bool {
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
/// depends on the longest lasting ones, and counts the others.
fn without_repetition(holders: Vec<SeenHolder>) -> Vec<SeenHolder> {
    let is_one_of_many = |holder: &SeenHolder| {
        !matches!(holder.state, State::Listen | State::Bound) && !holder.is_tripped_over
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Reuse, Sock};

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
            sharing: None,
            admits_reuseaddr: false,
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

        let listed = without_repetition(holders);

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
}
