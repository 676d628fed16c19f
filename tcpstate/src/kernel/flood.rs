//! Failed calls that were counted and not reported one by one: what the next record of their
//! kind carries, what is still to be reported when they come to rest, and whose they are that
//! nobody else counts.
//!
//! The kernel program never sets a count back; here is kept how much of it was reported. So
//! each failed call is reported once: as an event, in a `repeated`, or in a `flood`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use tcpstate_common::record::{RepeatKey, RepeatWire, UserKey, UserWire, call};

use super::decode::calls::Count;
use super::{Decoder, KernelError, ring};
use crate::event::{Body, CallName, Flood};

/// A kind of failure of which nothing was reported for so long is reported as a sum. A second
/// begins anew with each call that is reported, so that the next one would have carried it.
const RESTS_AFTER_NS: u64 = 1_200_000_000;
/// Sums that are reported in one go; the others wait for the next one.
const MAX_SUMS: usize = 256;
/// Entries that are looked at in one go: all, unless others come meanwhile.
const MAX_LOOKED_AT: usize = 8_192;

/// The counts of failed calls.
pub(super) struct Floods {
    repeats: HashMap<MapData, RepeatKey, RepeatWire>,
    users: HashMap<MapData, UserKey, UserWire>,
    reported: Reported,
    /// What each user's calls were reported to be.
    reported_users: BTreeMap<UserKey, u64>,
}

impl Floods {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            repeats: ring::map(ebpf, "REPEATS")?,
            users: ring::map(ebpf, "USERS")?,
            reported: Reported::default(),
            reported_users: BTreeMap::new(),
        })
    }

    /// How many calls of its kind a record stands for besides itself; `None`: it was
    /// reported already with one that two processors wrote at one time.
    pub(super) fn repeated(&mut self, count: Count) -> Option<u64> {
        self.reported.record(count)
    }

    /// What was counted and has come to rest; at the end of a run all that was. Only while
    /// no record of a failed call waits: it would report the same. `to` gets the events.
    pub(super) fn take(
        &mut self,
        now_ns: u64,
        is_end: bool,
        decoder: &Decoder,
        to: &mut Vec<Body>,
    ) {
        let entries: Vec<(RepeatKey, RepeatWire)> = self
            .repeats
            .iter()
            .take(MAX_LOOKED_AT)
            .filter_map(Result::ok)
            .collect();
        let most = if is_end { usize::MAX } else { MAX_SUMS };
        let mut sums = 0;
        for (key, entry) in &entries {
            let is_at_rest = is_end || now_ns >= entry.second_ns.saturating_add(RESTS_AFTER_NS);
            if !is_at_rest || sums == most {
                continue;
            }
            match self.reported.rest(*key, entry.began_ns, entry.total) {
                Rest::Sum(more) => {
                    sums += 1;
                    if let Ok(body) = decoder.sum(&entry.call, more - 1) {
                        to.push(body);
                    }
                }
                Rest::Idle => {}
                Rest::Over => {
                    // Looked at again, since some time may have passed: what is counted
                    // by then would go with it.
                    let same = |now: &RepeatWire| {
                        (now.began_ns, now.total) == (entry.began_ns, entry.total)
                    };
                    if self.repeats.get(key, 0).is_ok_and(|now| same(&now)) {
                        let _ = self.repeats.remove(key);
                    }
                }
            }
        }
        self.reported.forget(&entries);
        self.take_users(now_ns, to);
    }

    fn take_users(&mut self, now_ns: u64, to: &mut Vec<Body>) {
        let entries: Vec<(UserKey, UserWire)> = self
            .users
            .iter()
            .take(MAX_LOOKED_AT)
            .filter_map(Result::ok)
            .collect();
        for (key, entry) in entries {
            let reported = self.reported_users.entry(key).or_default();
            let more = entry.over.saturating_sub(*reported);
            if more > 0 {
                *reported = entry.over;
                if let Some(call) = called(key.call) {
                    to.push(Body::Flood(Flood {
                        call,
                        uid: key.uid,
                        pid: entry.pid,
                        comm: comm(&entry.comm),
                        count: more,
                    }));
                }
            } else if now_ns
                >= entry
                    .used_until_ns
                    .max(entry.reserve_until_ns)
                    .saturating_add(2 * RESTS_AFTER_NS)
                && self
                    .users
                    .get(&key, 0)
                    .is_ok_and(|now| now.over == entry.over)
            {
                let _ = self.users.remove(&key);
                self.reported_users.remove(&key);
            }
        }
    }
}

fn called(raw: u32) -> Option<CallName> {
    match u8::try_from(raw).ok()? {
        call::BIND => Some(CallName::Bind),
        call::LISTEN => Some(CallName::Listen),
        call::CONNECT => Some(CallName::Connect),
        _ => None,
    }
}

fn comm(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..len.unwrap_or(bytes.len())]).into_owned()
}

/// How much of each count was reported.
#[derive(Debug, Default)]
struct Reported(BTreeMap<RepeatKey, OfKind>);

#[derive(Clone, Copy, Debug)]
struct OfKind {
    /// Which count of this kind.
    began_ns: u64,
    /// So many were reported.
    reported: u64,
    /// It had nothing more to report when it was looked at.
    is_idle: bool,
    /// It is not in the kernel's map any more.
    is_gone: bool,
}

/// What becomes of a count that has come to rest.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    /// So many are to be reported, at least one.
    Sum(u64),
    /// Nothing; it is looked at once more.
    Idle,
    /// Nothing again: it may go.
    Over,
}

impl Reported {
    fn of(&mut self, key: RepeatKey, began_ns: u64) -> &mut OfKind {
        let fresh = OfKind {
            began_ns,
            reported: 0,
            is_idle: false,
            is_gone: false,
        };
        match self.0.entry(key) {
            Entry::Vacant(entry) => entry.insert(fresh),
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if known.began_ns != began_ns {
                    *known = fresh;
                }
                known
            }
        }
    }

    fn record(&mut self, count: Count) -> Option<u64> {
        let Count {
            key,
            total,
            began_ns,
        } = count;
        if total == 0 {
            return Some(0);
        }
        let kind = self.of(key, began_ns);
        let more = total.saturating_sub(kind.reported);
        kind.reported = kind.reported.max(total);
        kind.is_idle = false;
        more.checked_sub(1)
    }

    fn rest(&mut self, key: RepeatKey, began_ns: u64, total: u64) -> Rest {
        let kind = self.of(key, began_ns);
        let more = total.saturating_sub(kind.reported);
        let was_idle = kind.is_idle;
        kind.is_idle = more == 0;
        kind.reported = kind.reported.max(total);
        match more {
            0 if was_idle => Rest::Over,
            0 => Rest::Idle,
            more => Rest::Sum(more),
        }
    }

    /// Drops what the kernel's map has not had the last two times: a record of it may
    /// have been under way when it went.
    fn forget(&mut self, entries: &[(RepeatKey, RepeatWire)]) {
        let there: std::collections::BTreeSet<RepeatKey> =
            entries.iter().map(|(key, _)| *key).collect();
        self.0.retain(|key, kind| {
            let is_there = there.contains(key);
            let stays = is_there || !kind.is_gone;
            kind.is_gone = !is_there;
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> RepeatKey {
        RepeatKey {
            tgid: 7,
            netns: 1,
            errno: 98,
            port,
            call: call::BIND,
            family: 2,
        }
    }

    fn count(total: u64, began_ns: u64) -> Count {
        Count {
            key: key(80),
            total,
            began_ns,
        }
    }

    #[test]
    fn each_call_is_reported_once_as_an_event_or_in_a_count() {
        let mut reported = Reported::default();

        assert_eq!(reported.record(count(1, 5)), Some(0));
        assert_eq!(reported.record(count(2, 5)), Some(0));
        assert_eq!(reported.record(count(1_002, 5)), Some(999));
        // Two processors have counted before either has read the sum.
        assert_eq!(reported.record(count(1_004, 5)), Some(1));
        assert_eq!(reported.record(count(1_004, 5)), None);
        assert_eq!(reported.rest(key(80), 5, 1_010), Rest::Sum(6));
        assert_eq!(reported.rest(key(80), 5, 1_010), Rest::Idle);
        assert_eq!(reported.rest(key(80), 5, 1_010), Rest::Over);
    }

    #[test]
    fn a_count_that_began_anew_owes_nothing_to_the_one_before() {
        let mut reported = Reported::default();

        assert_eq!(reported.record(count(100, 5)), Some(99));
        assert_eq!(reported.record(count(1, 6)), Some(0));
        assert_eq!(reported.record(count(4, 6)), Some(2));
    }

    #[test]
    fn a_kind_that_nobody_counts_stands_for_itself() {
        let mut reported = Reported::default();

        assert_eq!(reported.record(count(0, 0)), Some(0));
        assert_eq!(reported.record(count(0, 0)), Some(0));
        assert!(reported.0.is_empty());
    }

    #[test]
    fn a_late_record_of_a_count_that_has_gone_is_not_reported_again() {
        let mut reported = Reported::default();
        reported.record(count(10, 5));

        reported.forget(&[]);

        assert_eq!(reported.record(count(11, 5)), Some(0));
        reported.forget(&[]);
        reported.forget(&[]);
        assert!(reported.0.is_empty());
    }
}
