//! All sockets that there are, at the start and after a loss. While they are listed
//! the ring buffer is emptied, and what came out of it is merged with the list in the
//! order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;

use super::super::DRAIN_MAX;
use super::{Live, Slice, diag_dump};
use crate::clock;
use crate::event::{Body, Process, SocketSeen, State};
use crate::kernel::{IterError, Walk};
use crate::model::NS_PER_MS;
use crate::snapshot::netns::NetnsError;
use crate::snapshot::{SocketItem, proc};

/// A list is read for this long before the ring buffer is emptied.
const LIST_SLICE_NS: u64 = 10 * NS_PER_MS;
/// Facts that are kept while a list is read. What comes after that stays in the
/// ring buffer; where that is full, the kernel program counts what is lost.
const MAX_HELD: usize = 1 << 18;

/// All sockets of a run, and what happened while they were listed.
pub(in crate::commands::live) struct Listed {
    covered: BTreeSet<u32>,
    /// All namespaces could be read.
    is_complete: bool,
    /// Each with the time at which it was looked at.
    items: Vec<(u64, SocketItem)>,
    /// Who has them open, by inode.
    holders: BTreeMap<u64, Arc<Process>>,
    facts: Vec<(u64, Body)>,
}

impl Listed {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Listening sockets, with the process that has each open.
    pub(in crate::commands::live) fn listeners(&self) -> impl Iterator<Item = SocketSeen> {
        self.items
            .iter()
            .filter(|(_, item)| item.state == State::Listen)
            .map(|(_, item)| seen(item, &self.holders))
    }
}

fn seen(item: &SocketItem, holders: &BTreeMap<u64, Arc<Process>>) -> SocketSeen {
    item.to_seen(item.inode.and_then(|inode| holders.get(&inode).cloned()))
}

impl Live {
    /// All sockets of all namespaces that the run is about, with the process
    /// that holds each, as far as they are found in that time. What the hooks see
    /// meanwhile is not fed: both have their time, and are to be merged.
    pub(in crate::commands::live) fn list_all(&mut self, wait_ns: u64) -> Listed {
        let mut items = Vec::new();
        let mut facts = Vec::new();
        let (namespaces, are_all) = if let Some(netns) = self.filters.netns {
            (BTreeSet::from([netns]), true)
        } else {
            let mut namespaces = std::mem::take(&mut self.resync.namespaces);
            let found = namespaces.all(wait_ns, || self.hold(&mut facts));
            self.resync.namespaces = namespaces;
            found
        };
        let mut covered = BTreeSet::new();
        let began_ns = clock::monotonic_ns();
        for netns in namespaces.iter().copied() {
            if self.list(netns, &mut items, &mut facts).is_ok() {
                covered.insert(netns);
            }
        }
        self.resync.listing_ns = clock::monotonic_ns().saturating_sub(began_ns);
        let holders = if proc::has_numbers_of_the_host() {
            let inodes = items.iter().filter_map(|(_, item)| item.inode).collect();
            self.first_owners(inodes, wait_ns, |live| live.hold(&mut facts))
        } else {
            BTreeMap::new()
        };
        self.hold(&mut facts);
        Listed {
            is_complete: are_all && covered == namespaces,
            covered,
            items,
            holders,
            facts,
        }
    }

    /// Appends all sockets of a namespace, and holds what the hooks see meanwhile.
    fn list(
        &mut self,
        netns: u32,
        items: &mut Vec<(u64, SocketItem)>,
        facts: &mut Vec<(u64, Body)>,
    ) -> Result<(), NetnsError> {
        let observer = &mut self.observer;
        let namespaces = &mut self.resync.namespaces;
        let before = items.len();
        if let Ok(mut walk) = namespaces.inside(netns, || observer.begin_walk())?
            && self.go_through(&mut walk, items, facts).is_ok()
        {
            return Ok(());
        }
        // The iterator is refused here: ask without it.
        items.truncate(before);
        items.extend(self.resync.namespaces.inside(netns, || diag_dump(netns))?);
        Ok(())
    }

    fn go_through(
        &mut self,
        walk: &mut Walk,
        items: &mut Vec<(u64, SocketItem)>,
        facts: &mut Vec<(u64, Body)>,
    ) -> Result<(), IterError> {
        loop {
            let slice = Slice::of(LIST_SLICE_NS);
            while !slice.is_over() {
                let take = |mono_ns, item| items.push((mono_ns, item));
                if !self.observer.go_on(walk, take)? {
                    return Ok(());
                }
            }
            self.hold(facts);
        }
    }

    /// Takes what has come out of the ring buffer, so that it does not run full, and
    /// keeps it for later.
    fn hold(&mut self, facts: &mut Vec<(u64, Body)>) {
        while facts.len() < MAX_HELD && self.observer.drain(DRAIN_MAX, facts) == DRAIN_MAX {}
    }

    /// Feeds what the hooks saw and what the kernel listed in the order of time.
    /// `each` is told of every listed socket. Gives whether the list is complete,
    /// and of which namespaces.
    pub(in crate::commands::live) fn merge(
        &mut self,
        listed: Listed,
        mut each: impl FnMut(&mut Self, &SocketSeen) -> Result<()>,
    ) -> Result<(bool, BTreeSet<u32>)> {
        let Listed {
            covered,
            is_complete,
            items,
            holders,
            facts,
        } = listed;
        let mut facts = facts.into_iter().peekable();
        for (found_ns, item) in items {
            while let Some((mono_ns, body)) = facts.next_if(|(mono_ns, _)| *mono_ns < found_ns) {
                self.take(mono_ns, body)?;
            }
            let seen = seen(&item, &holders);
            if self.wants(&seen) {
                each(self, &seen)?;
                self.feed_seen(found_ns, seen)?;
            }
        }
        for (mono_ns, body) in facts {
            self.take(mono_ns, body)?;
        }
        Ok((is_complete, covered))
    }
}
