//! Asks who has the sockets open that stand in a failed call's way, and passes on what is
//! found too late for the call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::Result;

use super::Live;
use super::lookup::{FRESH_NS, Found, Lookup, Question};
use crate::clock;
use crate::event::{
    Body, Call, LateHolders, Process, Seen, SeenHolder, Sock, SocketSeen, State, Unread,
};
use crate::model::{NS_PER_MS, SocketId, Tuple};
use crate::snapshot::{owners, port, proc};

/// A failed call waits so long for the names of the processes: an answer takes a
/// millisecond or a few where nobody has made the host slow.
const WAIT_NS: u64 = 80 * NS_PER_MS;
/// The same once failed calls come out this late: then the others come first. And where a
/// pass takes so much of a processor that the names would hardly come in time.
const WAIT_SHORTLY_NS: u64 = 3 * NS_PER_MS;
const BEHIND_NS: u64 = 200 * NS_PER_MS;
const LONG_PASS_NS: u64 = 50 * NS_PER_MS;
/// How long a list of all sockets waits for the processes that have them, at the start
/// and after a loss. While it waits, records are taken out of the ring buffer.
pub(super) const WAIT_FOR_ALL_NS: u64 = 900 * NS_PER_MS;
pub(super) const WAIT_FOR_ALL_AGAIN_NS: u64 = 80 * NS_PER_MS;
/// Between two snapshots into the ring buffer meanwhile.
const BETWEEN_NS: u64 = 10 * NS_PER_MS;

/// Answers that are kept for calls that fail in the same way.
const MAX_RECENT: usize = 16;

/// Who finds out, and for whom answers are still to come.
#[derive(Debug)]
pub(super) struct Owners {
    lookup: Lookup,
    /// Answers of a moment ago, with when they were asked for: one that may be older is
    /// had without waiting for another thread's turn.
    recent: VecDeque<(u64, BTreeSet<u64>, BTreeMap<u64, owners::Holders>)>,
    /// Whose processes are to be fed once they are found, by question.
    late: BTreeMap<u64, Late>,
    /// What stood in the way of the call that is taken in now, where it goes out without
    /// names, and the question about it.
    unanswered: Option<(u64, Seen, BTreeMap<u64, u32>)>,
}

/// For what processes are asked that come later.
#[derive(Debug)]
enum Late {
    Listeners(Vec<Listener>),
    /// A failed call: its position, its holders, and who has opened them, by inode.
    Call {
        of: u64,
        seen: Seen,
        openers: BTreeMap<u64, u32>,
    },
}

/// A listening socket whose processes are asked for.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) id: SocketId,
    /// With the cookie that asking has made for it, where it had none.
    pub(super) sock: Sock,
    pub(super) inode: Option<u64>,
}

impl Owners {
    pub(super) fn start() -> Self {
        Self {
            lookup: Lookup::start(),
            recent: VecDeque::new(),
            late: BTreeMap::new(),
            unanswered: None,
        }
    }

    fn keep(
        &mut self,
        asked_ns: u64,
        inodes: BTreeSet<u64>,
        found: BTreeMap<u64, owners::Holders>,
    ) {
        self.recent.truncate(MAX_RECENT - 1);
        self.recent.push_front((asked_ns, inodes, found));
    }

    fn at_hand(
        &self,
        inodes: &BTreeSet<u64>,
        now_ns: u64,
    ) -> Option<&BTreeMap<u64, owners::Holders>> {
        let mut recent = self.recent.iter();
        let (.., found) = recent.find(|(asked_ns, of, _)| {
            of == inodes && now_ns.saturating_sub(*asked_ns) < FRESH_NS
        })?;
        Some(found)
    }
}

/// Whether it was looked for who has it open, and nobody was found.
fn is_nobodys(holder: &SeenHolder) -> bool {
    !holder.is_mini
        && holder.processes_more == 0
        && holder.processes.as_deref().is_some_and(<[_]>::is_empty)
}

impl Live {
    /// Adds to each socket that was seen the processes that have it open, or why they are
    /// not known.
    pub(super) fn name_processes(&mut self, mono_ns: u64, call: &mut Call) {
        let Some(seen) = &mut call.seen else { return };
        let inodes = port::unnamed(seen);
        if inodes.is_empty() {
            return;
        }
        let is_behind = self.observer.has_failed_waiting();
        let now_ns = clock::monotonic_ns();
        let waited_ns = now_ns.saturating_sub(mono_ns);
        let openers: BTreeMap<u64, u32> = seen
            .holders
            .iter()
            .filter_map(|holder| Some((holder.inode?, self.opener(holder)?)))
            .collect();
        let opener = |holder: &SeenHolder| openers.get(&holder.inode?).copied();
        let may_be_older = is_behind || call.repeated > 0;
        if may_be_older && let Some(found) = self.owners.at_hand(&inodes, now_ns) {
            port::list_processes(seen, found, opener);
            self.doubt_nobody(seen);
            return;
        }
        let question = Question {
            inodes: inodes.clone(),
            openers: openers.values().copied().collect(),
            after_ns: mono_ns,
            may_be_older,
            first_until_ns: None,
            is_undisclosed: false,
        };
        let is_in_vain = self.owners.lookup.pass_ns() > LONG_PASS_NS;
        let wait_ns = if is_in_vain || (is_behind && waited_ns > BEHIND_NS) {
            WAIT_SHORTLY_NS
        } else {
            WAIT_NS
        };
        let id = self.ask_for_owners(question);
        let answer = id.and_then(|id| self.owners.lookup.wait(id, now_ns + wait_ns));
        if let Some(Found::All { found, .. }) = answer {
            port::list_processes(seen, &found, opener);
            self.owners.keep(now_ns, inodes, found);
            self.doubt_nobody(seen);
            self.find_undisclosed(seen, opener);
            return;
        }
        if let (Some(id), None) = (id, answer) {
            self.owners.unanswered = Some((id, seen.clone(), openers));
        }
        seen.processes_unread = Some(Unread::NoTime);
    }

    /// Remembers for which call names are still to come, once it has its position.
    pub(super) fn note_unanswered(&mut self, mono_ns: u64) {
        let Some((id, seen, openers)) = self.owners.unanswered.take() else {
            return;
        };
        let latest = self.pipeline.engine().failures().next_back();
        if let Some(failure) = latest.filter(|failure| failure.mono_ns == mono_ns) {
            let of = failure.seq;
            self.owners
                .late
                .insert(id, Late::Call { of, seen, openers });
        }
    }

    /// Who has what is there and in no list of descriptors.
    fn find_undisclosed(&mut self, seen: &mut Seen, opener: impl Fn(&SeenHolder) -> Option<u32>) {
        let nobodys = seen.holders.iter().filter(|holder| is_nobodys(holder));
        let inodes: BTreeSet<u64> = nobodys.filter_map(|holder| holder.inode).collect();
        if inodes.is_empty() {
            return;
        }
        let question = Question {
            inodes,
            openers: BTreeSet::new(),
            after_ns: 0,
            may_be_older: true,
            first_until_ns: None,
            is_undisclosed: true,
        };
        let until_ns = clock::monotonic_ns() + WAIT_NS;
        let id = self.ask_for_owners(question);
        let answer = id.and_then(|id| self.owners.lookup.wait(id, until_ns));
        let Some(Found::All { found, unread }) = answer else {
            seen.processes_unread = Some(Unread::Undisclosed);
            return;
        };
        let mut left = owners::MAX_BYTES;
        for holder in seen.holders.iter_mut().filter(|holder| is_nobodys(holder)) {
            if let Some(found) = holder.inode.and_then(|inode| found.get(&inode)) {
                let (listed, more) = owners::listed(found, opener(holder), &mut left);
                holder.processes = Some(listed);
                holder.processes_more = more;
                holder.is_opener_gone = false;
            }
        }
        if unread.is_some() && seen.holders.iter().any(is_nobodys) {
            seen.processes_unread = unread;
        }
    }

    /// That no process has a socket open says something only of one that is still there: its
    /// process may have ended, and closed it, since the call failed. What the kernel lists to
    /// nobody by its name, a socket that is only bound, is doubted always.
    fn doubt_nobody(&mut self, seen: &mut Seen) {
        let nobodys = seen.holders.iter().filter(|holder| is_nobodys(holder));
        let names: Vec<_> = nobodys
            .map(|holder| (holder.sock, holder.local, holder.peer))
            .collect();
        let Some((sock, ..)) = names.first() else {
            return;
        };
        // All of one port, so of one namespace.
        let there = self.look_up_by_name(sock.netns, names.iter().copied());
        let there = there.unwrap_or_default();
        for holder in seen.holders.iter_mut().filter(|holder| is_nobodys(holder)) {
            let tuple = Tuple {
                netns: holder.sock.netns,
                local: holder.local,
                peer: holder.peer,
            };
            let is_there = there
                .get(&(false, tuple))
                .is_some_and(|there| there.state == holder.state);
            if !is_there {
                holder.is_opener_gone = false;
                holder.processes = None;
            }
        }
    }

    /// Who is known to have opened a socket.
    fn opener(&self, holder: &SeenHolder) -> Option<u32> {
        let id = SocketId::of(&holder.sock, holder.local, holder.peer);
        let socket = self.pipeline.engine().socket(&id)?;
        Some(socket.owner.as_ref()?.pid)
    }

    /// Whether answers are to come that nobody waits for.
    pub(super) fn are_owners_to_come(&self) -> bool {
        !self.owners.late.is_empty()
    }

    /// Asks who has listening sockets; the answer is fed when it comes.
    pub(super) fn ask_for_owners_of(&mut self, listeners: Vec<Listener>) {
        let question = Question {
            inodes: listeners.iter().filter_map(|one| one.inode).collect(),
            openers: BTreeSet::new(),
            after_ns: clock::monotonic_ns(),
            may_be_older: false,
            first_until_ns: None,
            is_undisclosed: false,
        };
        if let Some(id) = self.ask_for_owners(question) {
            self.owners.late.insert(id, Late::Listeners(listeners));
        }
    }

    /// Of each of these sockets the process with the lowest pid that has it open, as far
    /// as they are found in that time. What the hooks see meanwhile is held.
    pub(super) fn first_owners(
        &mut self,
        inodes: BTreeSet<u64>,
        wait_ns: u64,
        mut hold: impl FnMut(&mut Self),
    ) -> BTreeMap<u64, Arc<Process>> {
        if inodes.is_empty() {
            return BTreeMap::new();
        }
        let now_ns = clock::monotonic_ns();
        let until_ns = now_ns + wait_ns;
        let question = Question {
            inodes,
            openers: BTreeSet::new(),
            after_ns: now_ns,
            may_be_older: false,
            // So that what was read until then is still waited for.
            first_until_ns: Some(until_ns.saturating_sub(wait_ns / 8)),
            is_undisclosed: false,
        };
        let Some(id) = self.ask_for_owners(question) else {
            return BTreeMap::new();
        };
        loop {
            let now_ns = clock::monotonic_ns();
            let answer = self
                .owners
                .lookup
                .wait(id, until_ns.min(now_ns + BETWEEN_NS));
            hold(self);
            match answer {
                Some(Found::First(found)) => return found,
                None if now_ns < until_ns => {}
                _ => return BTreeMap::new(),
            }
        }
    }

    fn ask_for_owners(&mut self, question: Question) -> Option<u64> {
        // The iterator lists the processes of our own pid namespace, under the numbers
        // that they have in the initial one.
        let descriptors = (proc::has_our_numbers() && !question.is_undisclosed)
            .then(|| self.observer.begin_descriptors().ok())
            .flatten();
        let id = self.owners.lookup.ask(question, descriptors);
        let Owners { lookup, late, .. } = &mut self.owners;
        late.retain(|id, _| lookup.may_answer(*id));
        id
    }

    /// Feeds the processes that were found meanwhile.
    pub(super) fn take_late_owners(&mut self) -> Result<()> {
        while let Some((id, found)) = self.owners.lookup.take() {
            let late = self.owners.late.remove(&id);
            let (Found::All { found, .. }, Some(late)) = (found, late) else {
                continue;
            };
            self.catch_up()?;
            match late {
                Late::Listeners(listeners) => self.feed_owners_of(listeners, &found)?,
                Late::Call { of, seen, openers } => {
                    self.feed_late_holders(of, seen, &openers, &found)?;
                }
            }
        }
        Ok(())
    }

    fn feed_owners_of(
        &mut self,
        listeners: Vec<Listener>,
        found: &BTreeMap<u64, owners::Holders>,
    ) -> Result<()> {
        let nobody = owners::Holders::default();
        for Listener { id, sock, inode } in listeners {
            let found = inode.and_then(|inode| found.get(&inode)).unwrap_or(&nobody);
            let (listed, _) = owners::listed(found, None, &mut { owners::MAX_BYTES });
            self.feed_owners(id, sock, listed)?;
        }
        Ok(())
    }

    fn feed_late_holders(
        &mut self,
        of: u64,
        mut seen: Seen,
        openers: &BTreeMap<u64, u32>,
        found: &BTreeMap<u64, owners::Holders>,
    ) -> Result<()> {
        port::list_processes(&mut seen, found, |holder| {
            openers.get(&holder.inode?).copied()
        });
        self.doubt_nobody(&mut seen);
        if seen.holders.iter().any(is_nobodys) {
            seen.processes_unread = Some(Unread::Undisclosed);
        }
        let late = LateHolders { of, seen };
        let body = Body::Holders(Box::new(late));
        Ok(self.pipeline.feed(clock::monotonic_ns(), body)?)
    }

    fn feed_owners(
        &mut self,
        id: SocketId,
        sock: Sock,
        processes: Vec<Arc<Process>>,
    ) -> Result<()> {
        let Some(socket) = self.pipeline.engine().table().get(&id) else {
            return Ok(());
        };
        if socket.state != State::Listen {
            return Ok(());
        }
        let seen = SocketSeen {
            sock,
            state: State::Listen,
            process: None,
            processes: Some(processes),
            ..super::changes::closed(socket)
        };
        Ok(self
            .pipeline
            .feed(clock::monotonic_ns(), Body::Socket(seen))?)
    }
}
