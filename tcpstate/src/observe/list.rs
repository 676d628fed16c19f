//! All sockets that there are, at the start and after a loss. While they are listed
//! the ring buffer is emptied, and what came out of it is merged with the list in the
//! order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kernel::Kernel;
use super::owners::Owners;
use super::source::{Slice, Source as _, Unanswered};
use crate::event::{Body, Filters, Process, SocketSeen, State};
use crate::model::NS_PER_MS;
use crate::snapshot::netns::NetnsError;
use crate::snapshot::{SocketItem, proc};

/// A list is read for this long before the ring buffer is emptied.
const SLICE_NS: u64 = 10 * NS_PER_MS;

/// All sockets of a run, and what happened while they were listed.
#[derive(Debug)]
pub(crate) struct List {
    /// Namespaces that could be read.
    pub(crate) covered: BTreeSet<u32>,
    /// Those are all.
    pub(crate) is_complete: bool,
    /// How long the kernel took for it.
    pub(crate) took_ns: u64,
    /// Each with the time at which it was read.
    items: Vec<(u64, SocketItem)>,
    /// Who has them open, by inode.
    owners: BTreeMap<u64, Arc<Process>>,
    facts: Vec<(u64, Body)>,
}

/// Of a list and of what the hooks reported meanwhile, what comes next.
#[derive(Debug)]
pub(crate) enum Merged {
    Reported(u64, Body),
    Listed(u64, SocketSeen),
}

impl List {
    /// All sockets of all namespaces that the run is about, with the process
    /// that holds each, as far as they are found in that time. What the hooks report
    /// meanwhile is not fed: both have their time, and are to be merged.
    pub(crate) fn read(
        kernel: &mut Kernel,
        owners: &mut Owners,
        filters: &Filters,
        wait_ns: u64,
    ) -> Self {
        let mut items = Vec::new();
        let mut facts = Vec::new();
        let (namespaces, are_all) = match filters.netns {
            Some(netns) => (BTreeSet::from([netns]), true),
            None => kernel.all_namespaces(wait_ns, &mut facts),
        };
        let mut covered = BTreeSet::new();
        let began_ns = kernel.now_ns();
        for netns in namespaces.iter().copied() {
            if list_one(netns, kernel, &mut items, &mut facts).is_ok() {
                covered.insert(netns);
            }
        }
        let took_ns = kernel.now_ns().saturating_sub(began_ns);
        let owners = if proc::has_numbers_of_the_host() {
            let inodes = items.iter().filter_map(|(_, item)| item.inode).collect();
            owners.first_of(kernel, inodes, wait_ns, |kernel| kernel.hold(&mut facts))
        } else {
            BTreeMap::new()
        };
        kernel.hold(&mut facts);
        Self {
            is_complete: are_all && covered == namespaces,
            covered,
            took_ns,
            items,
            owners,
            facts,
        }
    }

    /// Listening sockets, with the process that has each open.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = SocketSeen> {
        self.items
            .iter()
            .filter(|(_, item)| item.state == State::Listen)
            .map(|(_, item)| seen(item, &self.owners))
    }

    /// What the hooks reported and what the kernel listed in the order of time.
    pub(crate) fn in_order(self) -> impl Iterator<Item = Merged> {
        let Self {
            items,
            owners,
            facts,
            ..
        } = self;
        let mut items = items.into_iter().peekable();
        let mut facts = facts.into_iter().peekable();
        std::iter::from_fn(move || {
            let until_ns = items.peek().map_or(u64::MAX, |(found_ns, _)| *found_ns);
            let is_last = items.peek().is_none();
            if let Some((mono_ns, body)) =
                facts.next_if(|(mono_ns, _)| is_last || *mono_ns < until_ns)
            {
                return Some(Merged::Reported(mono_ns, body));
            }
            let (found_ns, item) = items.next()?;
            Some(Merged::Listed(found_ns, seen(&item, &owners)))
        })
    }
}

fn seen(item: &SocketItem, owners: &BTreeMap<u64, Arc<Process>>) -> SocketSeen {
    item.to_seen(item.inode.and_then(|inode| owners.get(&inode).cloned()))
}

/// Appends all sockets of a namespace, and holds what the hooks report meanwhile.
fn list_one(
    netns: u32,
    kernel: &mut Kernel,
    items: &mut Vec<(u64, SocketItem)>,
    facts: &mut Vec<(u64, Body)>,
) -> Result<(), NetnsError> {
    let before = items.len();
    if let Some(mut walk) = kernel.begin_walk(netns)?
        && go_through(&mut walk, kernel, items, facts).is_ok()
    {
        return Ok(());
    }
    // The iterator is refused here: ask without it.
    items.truncate(before);
    items.extend(kernel.list_without_walk(netns)?);
    Ok(())
}

fn go_through(
    walk: &mut crate::kernel::Walk,
    kernel: &mut Kernel,
    items: &mut Vec<(u64, SocketItem)>,
    facts: &mut Vec<(u64, Body)>,
) -> Result<(), Unanswered> {
    loop {
        let slice = Slice::of(kernel, SLICE_NS);
        while !slice.is_over(kernel) {
            if !kernel.read_walk(walk, items)? {
                return Ok(());
            }
        }
        kernel.hold(facts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::item;
    use super::*;
    use crate::event::Tick;

    fn order(items: &[u64], facts: &[u64]) -> String {
        let list = List {
            covered: BTreeSet::new(),
            is_complete: true,
            took_ns: 0,
            items: items
                .iter()
                .map(|at_ns| (*at_ns, item(1, State::Listen)))
                .collect(),
            owners: BTreeMap::new(),
            facts: facts
                .iter()
                .map(|at_ns| (*at_ns, Body::Tick(Tick {})))
                .collect(),
        };
        let words = list.in_order().map(|next| match next {
            Merged::Reported(at_ns, _) => format!("r{at_ns}"),
            Merged::Listed(at_ns, _) => format!("l{at_ns}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_reported_and_what_was_listed_is_merged_by_time() {
        assert_eq!(order(&[2, 4], &[1, 3, 5, 6]), "r1 l2 r3 l4 r5 r6");
        assert_eq!(order(&[], &[1, u64::MAX]), format!("r1 r{}", u64::MAX));
        assert_eq!(order(&[1, 2], &[]), "l1 l2");
        // The list shows what was so before the hook fired.
        assert_eq!(order(&[3], &[3]), "l3 r3");
    }
}
