//! Where each namespace was found, and what happens inside one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::find::MAX_NAMESPACES;
use super::handle::Handle;
use super::search::{Depth, Searched, Searcher, Wanted};
use super::{NetnsError, SEARCH_AGAIN_NS, current, open_if};
use crate::clock;
use crate::pace::{Limit, Pace};

/// Finds and enters namespaces. Keeps of each where it was found, at most
/// [`MAX_NAMESPACES`]; when that is full, all are forgotten and found anew.
#[derive(Debug, Default)]
pub struct Namespaces {
    known: BTreeMap<u32, Place>,
    searcher: Searcher,
    /// Not found yet, and since when they are wanted.
    wanted: BTreeMap<u32, u64>,
    /// Looked for in vain, and when: not again at once.
    missed: BTreeMap<u32, u64>,
    /// When the last search began that has ended, of either depth.
    ended: BTreeMap<Depth, u64>,
    /// Searches through threads and descriptors.
    deep: Pace,
    /// Searches for all that nobody wants yet.
    unwanted: Pace,
    /// Waits for a search.
    waits: Pace,
    /// Found to be gone, and not told yet.
    gone: Vec<u32>,
}

/// How a namespace can be found again.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    handle: Option<Handle>,
}

/// A search for what nobody wants yet, and a wait, are followed by twenty times as long
/// without one.
const LIMIT: Limit = Limit {
    least_ns: 0,
    factor: 20,
};
/// The same for a search through all threads and descriptors.
const LIMIT_DEEP: Limit = Limit {
    least_ns: SEARCH_AGAIN_NS,
    ..LIMIT
};
/// Who wants to go into a namespace waits so long for the search, where it is made elsewhere.
/// It takes a millisecond or a few where nobody has made the host slow.
const WAIT_NS: u64 = 50_000_000;
/// Between two calls of who waits for a whole search.
const BETWEEN_NS: u64 = 10_000_000;

impl Namespaces {
    /// One that nobody waits long for: it searches in a thread of its own.
    #[must_use]
    pub fn searched_in_a_thread() -> Self {
        Self {
            searcher: Searcher::start(),
            ..Self::default()
        }
    }

    /// Notes where a namespace was found, for one that no list would show.
    pub fn remember(&mut self, inode: u32, path: &Path) {
        self.take_in(BTreeMap::from([(inode, path.to_owned())]));
    }

    /// Runs `look` inside a namespace, in a thread of its own unless it is the
    /// caller's namespace already.
    pub fn inside<T: Send>(
        &mut self,
        inode: u32,
        look: impl FnOnce() -> T + Send,
    ) -> Result<T, NetnsError> {
        if current().is_ok_and(|own| own == inode) {
            return Ok(look());
        }
        let namespace = self.open(inode, WAIT_NS)?;
        let entered = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok(look())
                })
                .join()
        });
        match entered {
            Ok(result) => result.map_err(|source: rustix::io::Errno| NetnsError::Enter {
                inode,
                source: source.into(),
            }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Whether it is known how to find a namespace again.
    #[must_use]
    pub fn knows(&self, inode: u32) -> bool {
        self.known.contains_key(&inode)
    }

    /// Those of which it is known how to find them again.
    pub fn known(&self) -> impl Iterator<Item = u32> {
        self.known.keys().copied()
    }

    /// Begins to note where every namespace is that can be found at little cost, before the
    /// processes in them are gone. `false`: later, since one such search was just made.
    pub fn note_all(&mut self) -> bool {
        self.take_found(0);
        if self.searcher.is_searching() || !self.unwanted.is_due(clock::monotonic_ns()) {
            return false;
        }
        self.begin(Wanted {
            depth: Depth::Processes,
            inode: None,
        });
        true
    }

    /// Every namespace that can be found at any cost until then, and whether there was time
    /// for all of them. Meanwhile `meanwhile` is called every few milliseconds.
    pub fn all(&mut self, wait_ns: u64, mut meanwhile: impl FnMut()) -> (BTreeSet<u32>, bool) {
        let began_ns = clock::monotonic_ns();
        let until_ns = began_ns.saturating_add(wait_ns);
        let is_over = loop {
            self.begin(Wanted {
                depth: Depth::Descriptors,
                inode: None,
            });
            self.take_found(until_ns.min(clock::monotonic_ns().saturating_add(BETWEEN_NS)));
            meanwhile();
            if self.ended(Depth::Descriptors) >= began_ns {
                break true;
            }
            if clock::monotonic_ns() >= until_ns {
                break false;
            }
        };
        (self.known().collect(), is_over)
    }

    /// Looks for a namespace that is not known, without waiting for it.
    pub fn find(&mut self, inode: u32) -> Result<(), NetnsError> {
        self.open(inode, 0).map(drop)
    }

    /// When threads and descriptors were last searched: `Unreachable` says nothing
    /// of a namespace that is younger.
    #[must_use]
    pub fn searched_ns(&self) -> u64 {
        self.ended(Depth::Descriptors)
    }

    /// The known namespaces that have ended since the last call: `Gone` is
    /// certain, `Unreachable` is not. They are forgotten. Another one may have
    /// the number of one that is gone.
    pub fn take_ended(&mut self) -> Vec<NetnsError> {
        self.take_found(0);
        let mut ended = Vec::new();
        let inodes: Vec<u32> = self.known().collect();
        for inode in inodes {
            if current().is_ok_and(|own| own == inode) || self.open_known(inode).is_some() {
                continue;
            }
            // Nobody has to search for what is gone.
            if self.knows(inode)
                && let Err(error @ NetnsError::Unreachable(_)) = self.open(inode, 0)
            {
                self.known.remove(&inode);
                ended.push(error);
            }
        }
        ended.extend(self.gone.drain(..).map(NetnsError::Gone));
        ended
    }

    /// What is found where it was found before. Who is certain to be gone is not known any
    /// more.
    fn open_known(&mut self, inode: u32) -> Option<File> {
        let place = self.known.get(&inode)?;
        match place.handle.map(|handle| handle.open()) {
            Some(Ok(Some(file))) => return Some(file),
            Some(Ok(None)) => {
                self.known.remove(&inode);
                if self.gone.len() < MAX_NAMESPACES {
                    self.gone.push(inode);
                }
                return None;
            }
            Some(Err(_)) | None => {}
        }
        open_if(&place.path, inode)
    }

    fn open(&mut self, inode: u32, wait_ns: u64) -> Result<File, NetnsError> {
        self.take_found(0);
        if let Some(file) = self.open_known(inode) {
            self.wanted.remove(&inode);
            return Ok(file);
        }
        let began_ns = clock::monotonic_ns();
        if let Some(missed_ns) = self.missed.get(&inode)
            && began_ns < missed_ns.saturating_add(SEARCH_AGAIN_NS)
        {
            return Err(NetnsError::Unreachable(inode));
        }
        if self.wanted.len() >= MAX_NAMESPACES {
            self.wanted.clear();
        }
        let since_ns = *self.wanted.entry(inode).or_insert(began_ns);
        let may_wait = self.waits.is_due(began_ns);
        let until_ns = began_ns + if may_wait { wait_ns } else { 0 };
        let outcome = loop {
            if self.is_missed(since_ns) {
                self.wanted.remove(&inode);
                if self.missed.len() >= MAX_NAMESPACES {
                    self.missed.clear();
                }
                self.missed.insert(inode, since_ns);
                break Err(NetnsError::Unreachable(inode));
            }
            self.search_for(inode);
            let is_over = self.take_found(until_ns);
            if let Some(file) = self.open_known(inode) {
                self.wanted.remove(&inode);
                self.missed.remove(&inode);
                break Ok(file);
            }
            let is_late = !is_over || clock::monotonic_ns() >= until_ns;
            if is_late && !self.is_missed(since_ns) {
                break Err(NetnsError::Searching(inode));
            }
        };
        let waited_ns = clock::monotonic_ns().saturating_sub(began_ns);
        if until_ns > began_ns {
            self.waits.pause(began_ns, LIMIT.pause_ns(waited_ns));
        }
        outcome
    }

    /// Whether what is wanted since then was looked for everywhere, as far as threads and
    /// descriptors may be searched now.
    fn is_missed(&self, since_ns: u64) -> bool {
        let may_be_deeper = self.deep.is_due(clock::monotonic_ns());
        self.ended(Depth::Descriptors) >= since_ns
            || (!may_be_deeper && self.ended(Depth::Processes) >= since_ns)
    }

    fn ended(&self, depth: Depth) -> u64 {
        let ended = self.ended.range(depth..).map(|(_, began_ns)| *began_ns);
        ended.max().unwrap_or_default()
    }

    fn search_for(&mut self, inode: u32) {
        let may_be_deep = self.deep.is_due(clock::monotonic_ns());
        self.begin(Wanted {
            depth: if may_be_deep {
                Depth::Descriptors
            } else {
                Depth::Processes
            },
            inode: Some(inode),
        });
    }

    fn begin(&mut self, wanted: Wanted) {
        if let Some(searched) = self.searcher.begin(wanted) {
            self.note(searched);
        }
    }

    /// Takes in what was found until then. `false`: the search goes on.
    fn take_found(&mut self, until_ns: u64) -> bool {
        if let Some(searched) = self.searcher.take(until_ns) {
            self.note(searched);
        }
        !self.searcher.is_searching()
    }

    fn note(&mut self, searched: Searched) {
        self.take_in(searched.found);
        let ended_ns = clock::monotonic_ns();
        let cost_ns = searched.cost_ns;
        self.unwanted.pause(ended_ns, LIMIT.pause_ns(cost_ns));
        if searched.depth == Depth::Descriptors {
            self.deep.pause(ended_ns, LIMIT_DEEP.pause_ns(cost_ns));
        }
        if searched.is_whole {
            self.ended.insert(searched.depth, searched.began_ns);
        }
    }

    /// Adds what was found. Who is known already by a handle stays what he is:
    /// only [`Self::open_known`] finds out that he is gone.
    fn take_in(&mut self, found: BTreeMap<u32, PathBuf>) {
        if self.known.len().saturating_add(found.len()) > 2 * MAX_NAMESPACES {
            self.known.clear();
        }
        for (inode, path) in found {
            let is_known = self
                .known
                .get(&inode)
                .is_some_and(|place| place.handle.is_some() || place.path == path);
            if !is_known {
                let file = open_if(&path, inode);
                let handle = file.and_then(|file| Handle::of(&file));
                self.known.insert(inode, Place { path, handle });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A namespace that lives as long as the sender is not dropped.
    fn namespace() -> (
        u32,
        std::sync::mpsc::Sender<()>,
        std::thread::JoinHandle<()>,
    ) {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = tell.send(crate::demo::namespace::enter_private().ok());
            let _ = ended.recv();
        });
        (told.recv().unwrap().unwrap_or(0), end, thread)
    }

    #[test]
    fn a_number_that_comes_back_is_a_namespace_again() {
        let mut namespaces = Namespaces::default();
        let (inode, end, thread) = namespace();
        if inode == 0 {
            return;
        }
        assert_eq!(
            namespaces.inside(inode, || current().unwrap()).unwrap(),
            inode
        );
        drop(end);
        thread.join().unwrap();
        // The thread lets go of it a moment after it was joined.
        let is_it = |ended: &NetnsError| matches!(ended, NetnsError::Gone(number) | NetnsError::Unreachable(number) if *number == inode);
        assert!((0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            namespaces.take_ended().iter().any(is_it)
        }));

        // The number comes back as soon as the kernel has cleaned up.
        let again = (0..200).find_map(|_| {
            let (number, end, thread) = namespace();
            if number == inode {
                return Some((end, thread));
            }
            drop(end);
            thread.join().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
            None
        });
        let Some((end, thread)) = again else {
            return;
        };
        // The longer a search has taken, the later the next one is made.
        let found = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_nanos(SEARCH_AGAIN_NS));
            namespaces.inside(inode, || current().unwrap()).ok()
        });
        assert_eq!(found, Some(inode));
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_what_another_thread_searches() {
        let mut namespaces = Namespaces::searched_in_a_thread();
        let (inode, end, thread) = namespace();

        let first = namespaces.find(inode);
        assert!(matches!(first, Err(NetnsError::Searching(number)) if number == inode));
        let found = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            namespaces.find(inode).ok()
        });
        assert!(found.is_some());
        // Nothing has this number: that is said once all was searched.
        let missed = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            match namespaces.find(1) {
                Err(NetnsError::Unreachable(_)) => Some(()),
                _ => None,
            }
        });
        assert!(missed.is_some());
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn what_is_certain_to_be_gone_is_not_searched_for() {
        let mut namespaces = Namespaces::default();
        let (inode, end, thread) = namespace();
        if inode == 0 || !crate::snapshot::netns::has_handles() {
            return;
        }
        namespaces.inside(inode, || ()).unwrap();
        let searched = namespaces.ended.clone();

        drop(end);
        thread.join().unwrap();
        let is_gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let ended = namespaces.take_ended();
            ended
                .iter()
                .any(|ended| matches!(ended, NetnsError::Gone(number) if *number == inode))
        });

        assert!(is_gone);
        assert_eq!(namespaces.ended, searched, "no search, of either depth");
    }
}
