//! Searches for network namespaces: where who asks may wait, or in a thread of its own, since
//! whoever has an account can make one as long as he likes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::find::{self, Found};
use crate::clock;

/// Longest time that one search takes.
const MAX_SEARCH_NS: u64 = 5_000_000_000;
/// A search that took less of a processor is followed by the next at once, another one by as
/// much time as it took.
const SHORT_NS: u64 = 20_000_000;

/// How far is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// Names, processes and bind mounts.
    Processes,
    /// Threads and open descriptors, too.
    Descriptors,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) depth: Depth,
    /// The search ends where this one was found.
    pub(super) inode: Option<u32>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Searched {
    pub(super) began_ns: u64,
    /// What it took of a processor.
    pub(super) cost_ns: u64,
    pub(super) depth: Depth,
    /// There was time for all of it.
    pub(super) is_whole: bool,
    pub(super) found: Found,
}

fn search(wanted: Wanted) -> Searched {
    let began_ns = clock::monotonic_ns();
    let began_cpu_ns = clock::processor_ns();
    let until_ns = began_ns.saturating_add(MAX_SEARCH_NS);
    let (mut found, mut is_whole) = find::at_little_cost(until_ns);
    let is_found = wanted.inode.is_some_and(|inode| found.contains_key(&inode));
    let depth = if is_found {
        Depth::Processes
    } else {
        wanted.depth
    };
    if depth == Depth::Descriptors {
        is_whole = is_whole && find::at_some_cost(&mut found, until_ns);
    }
    Searched {
        began_ns,
        cost_ns: clock::processor_ns().saturating_sub(began_cpu_ns),
        depth,
        is_whole,
        found,
    }
}

/// Who searches.
#[derive(Debug, Default)]
pub(super) enum Searcher {
    /// Who asks.
    #[default]
    Here,
    /// Another thread.
    Thread(Thread),
}

#[derive(Debug)]
pub(super) struct Thread {
    to: SyncSender<Wanted>,
    from: Receiver<Searched>,
    is_searching: bool,
}

impl Searcher {
    /// Searches in another thread, where one can be started.
    pub(super) fn start() -> Self {
        let (to, questions) = sync_channel(1);
        let (answers, from) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn(move || search_all(&questions, &answers));
        if thread.is_err() {
            return Self::Here;
        }
        Self::Thread(Thread {
            to,
            from,
            is_searching: false,
        })
    }

    /// Begins a search, unless one is under way; gives what was found, if that is known at
    /// once.
    pub(super) fn begin(&mut self, wanted: Wanted) -> Option<Searched> {
        match self {
            Self::Here => Some(search(wanted)),
            Self::Thread(thread) => {
                if !thread.is_searching {
                    thread.is_searching = thread.to.try_send(wanted).is_ok();
                }
                None
            }
        }
    }

    /// Whether a search is under way.
    pub(super) fn is_searching(&self) -> bool {
        matches!(self, Self::Thread(thread) if thread.is_searching)
    }

    /// What was found by a search that has ended until then.
    pub(super) fn take(&mut self, until_ns: u64) -> Option<Searched> {
        let Self::Thread(thread) = self else {
            return None;
        };
        if !thread.is_searching {
            return None;
        }
        let left_ns = until_ns.saturating_sub(clock::monotonic_ns());
        let searched = thread
            .from
            .recv_timeout(Duration::from_nanos(left_ns))
            .ok()?;
        thread.is_searching = false;
        Some(searched)
    }
}

/// Searches until nobody asks any more.
fn search_all(questions: &Receiver<Wanted>, answers: &SyncSender<Searched>) {
    for wanted in questions {
        let searched = search(wanted);
        let cost_ns = searched.cost_ns;
        if answers.send(searched).is_err() {
            return;
        }
        if cost_ns > SHORT_NS {
            thread::sleep(Duration::from_nanos(cost_ns));
        }
    }
}
