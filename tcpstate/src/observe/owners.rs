//! Asks who has the sockets open that stand in a failed call's way, and passes on what is
//! found too late for the call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::changes::closed;
use super::kernel::Kernel;
use super::lookup::{FRESH_NS, Found, Lookup, Question};
use super::source::{SocketName, Source as _};
use crate::clock;
use crate::engine::Engine;
use crate::event::{
    Body, Call, LateHolders, Process, Seen, SeenHolder, Sock, SocketSeen, State, Unread,
};
use crate::model::{NS_PER_MS, SocketId};
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
pub(crate) const WAIT_FOR_ALL_NS: u64 = 900 * NS_PER_MS;
pub(crate) const WAIT_FOR_ALL_AGAIN_NS: u64 = 80 * NS_PER_MS;
/// Between two snapshots into the ring buffer meanwhile.
const BETWEEN_NS: u64 = 10 * NS_PER_MS;

/// Answers that are kept for calls that fail in the same way.
const MAX_RECENT: usize = 16;

/// Who finds out, and for whom answers are still to come.
#[derive(Debug)]
pub(crate) struct Owners {
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

/// An answer that came too late for whoever asked.
#[derive(Debug)]
pub(crate) struct LateAnswer {
    asked_for: Late,
    found: BTreeMap<u64, owners::Holders>,
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
pub(crate) struct Listener {
    pub(crate) id: SocketId,
    /// With the cookie that asking has made for it, where it had none.
    pub(crate) sock: Sock,
    pub(crate) inode: Option<u64>,
}

impl Owners {
    pub(crate) fn start() -> Self {
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

    /// Adds to each socket that was seen the processes that have it open, or why they are
    /// not known.
    pub(crate) fn name(
        &mut self,
        engine: &Engine,
        kernel: &mut Kernel,
        mono_ns: u64,
        call: &mut Call,
    ) {
        let Some(seen) = &mut call.seen else { return };
        let inodes = port::unnamed(seen);
        if inodes.is_empty() {
            return;
        }
        let is_behind = kernel.observer.has_failed_waiting();
        let now_ns = clock::monotonic_ns();
        let waited_ns = now_ns.saturating_sub(mono_ns);
        let openers: BTreeMap<u64, u32> = seen
            .holders
            .iter()
            .filter_map(|holder| Some((holder.inode?, opener(engine, holder)?)))
            .collect();
        let opener = |holder: &SeenHolder| openers.get(&holder.inode?).copied();
        let may_be_older = is_behind || call.repeated > 0;
        if may_be_older && let Some(found) = self.at_hand(&inodes, now_ns) {
            port::list_processes(seen, found, opener);
            doubt_nobody(kernel, seen);
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
        let is_in_vain = self.lookup.pass_ns() > LONG_PASS_NS;
        let wait_ns = if is_in_vain || (is_behind && waited_ns > BEHIND_NS) {
            WAIT_SHORTLY_NS
        } else {
            WAIT_NS
        };
        let id = self.ask(kernel, question);
        let answer = id.and_then(|id| self.lookup.wait(id, now_ns + wait_ns));
        if let Some(Found::All { found, .. }) = answer {
            port::list_processes(seen, &found, opener);
            self.keep(now_ns, inodes, found);
            doubt_nobody(kernel, seen);
            self.find_undisclosed(kernel, seen, opener);
            return;
        }
        if let (Some(id), None) = (id, answer) {
            self.unanswered = Some((id, seen.clone(), openers));
        }
        seen.processes_unread = Some(Unread::NoTime);
    }

    /// Remembers for which call names are still to come, once it has its position.
    pub(crate) fn note_unanswered(&mut self, engine: &Engine, mono_ns: u64) {
        let Some((id, seen, openers)) = self.unanswered.take() else {
            return;
        };
        let latest = engine.failures().next_back();
        if let Some(failure) = latest.filter(|failure| failure.mono_ns == mono_ns) {
            let of = failure.seq;
            self.late.insert(id, Late::Call { of, seen, openers });
        }
    }

    /// Who has what is there and in no list of descriptors.
    fn find_undisclosed(
        &mut self,
        kernel: &mut Kernel,
        seen: &mut Seen,
        opener: impl Fn(&SeenHolder) -> Option<u32>,
    ) {
        let unowned = seen.holders.iter().filter(|holder| is_unowned(holder));
        let inodes: BTreeSet<u64> = unowned.filter_map(|holder| holder.inode).collect();
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
        let id = self.ask(kernel, question);
        let answer = id.and_then(|id| self.lookup.wait(id, until_ns));
        let Some(Found::All { found, unread }) = answer else {
            seen.processes_unread = Some(Unread::Undisclosed);
            return;
        };
        let mut left = owners::MAX_BYTES;
        for holder in seen.holders.iter_mut().filter(|holder| is_unowned(holder)) {
            if let Some(found) = holder.inode.and_then(|inode| found.get(&inode)) {
                let (listed, more) = owners::listed(found, opener(holder), &mut left);
                holder.processes = Some(listed);
                holder.processes_more = more;
                holder.is_opener_gone = false;
            }
        }
        if unread.is_some() && seen.holders.iter().any(is_unowned) {
            seen.processes_unread = unread;
        }
    }

    /// Whether answers are to come that nobody waits for.
    pub(crate) fn are_to_come(&self) -> bool {
        !self.late.is_empty()
    }

    /// Asks who has listening sockets; the answer is fed when it comes.
    pub(crate) fn ask_for_listeners(&mut self, kernel: &mut Kernel, listeners: Vec<Listener>) {
        let question = Question {
            inodes: listeners.iter().filter_map(|one| one.inode).collect(),
            openers: BTreeSet::new(),
            after_ns: clock::monotonic_ns(),
            may_be_older: false,
            first_until_ns: None,
            is_undisclosed: false,
        };
        if let Some(id) = self.ask(kernel, question) {
            self.late.insert(id, Late::Listeners(listeners));
        }
    }

    /// Of each of these sockets the process with the lowest pid that has it open, as far
    /// as they are found in that time. Meanwhile `hold` is called every few milliseconds.
    pub(crate) fn first_of(
        &mut self,
        kernel: &mut Kernel,
        inodes: BTreeSet<u64>,
        wait_ns: u64,
        mut hold: impl FnMut(&mut Kernel),
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
        let Some(id) = self.ask(kernel, question) else {
            return BTreeMap::new();
        };
        loop {
            let now_ns = clock::monotonic_ns();
            let answer = self.lookup.wait(id, until_ns.min(now_ns + BETWEEN_NS));
            hold(kernel);
            match answer {
                Some(Found::First(found)) => return found,
                None if now_ns < until_ns => {}
                _ => return BTreeMap::new(),
            }
        }
    }

    fn ask(&mut self, kernel: &mut Kernel, question: Question) -> Option<u64> {
        // The iterator lists the processes of our own pid namespace, under the numbers
        // that they have in the initial one.
        let descriptors = (proc::has_our_numbers() && !question.is_undisclosed)
            .then(|| kernel.observer.begin_descriptors().ok())
            .flatten();
        let id = self.lookup.ask(question, descriptors);
        let Self { lookup, late, .. } = self;
        late.retain(|id, _| lookup.may_answer(*id));
        id
    }

    /// The next answer that came too late. Before its facts are made, what the hooks have
    /// reported is taken in.
    pub(crate) fn next_late(&mut self) -> Option<LateAnswer> {
        while let Some((id, found)) = self.lookup.take() {
            let late = self.late.remove(&id);
            if let (Found::All { found, .. }, Some(asked_for)) = (found, late) {
                return Some(LateAnswer { asked_for, found });
            }
        }
        None
    }
}

impl LateAnswer {
    /// The processes that were found meanwhile.
    pub(crate) fn facts(self, engine: &Engine, kernel: &mut Kernel) -> Vec<(u64, Body)> {
        let found = &self.found;
        match self.asked_for {
            Late::Listeners(listeners) => listeners
                .iter()
                .filter_map(|listener| owners_of(engine, listener, found))
                .map(|body| (clock::monotonic_ns(), body))
                .collect(),
            Late::Call { of, seen, openers } => {
                let body = late_holders(kernel, of, seen, &openers, found);
                vec![(clock::monotonic_ns(), body)]
            }
        }
    }
}

fn late_holders(
    kernel: &mut Kernel,
    of: u64,
    mut seen: Seen,
    openers: &BTreeMap<u64, u32>,
    found: &BTreeMap<u64, owners::Holders>,
) -> Body {
    port::list_processes(&mut seen, found, |holder| {
        openers.get(&holder.inode?).copied()
    });
    doubt_nobody(kernel, &mut seen);
    if seen.holders.iter().any(is_unowned) {
        seen.processes_unread = Some(Unread::Undisclosed);
    }
    Body::Holders(Box::new(LateHolders { of, seen }))
}

/// `None`: it does not listen any more.
fn owners_of(
    engine: &Engine,
    listener: &Listener,
    found: &BTreeMap<u64, owners::Holders>,
) -> Option<Body> {
    let nobody = owners::Holders::default();
    let inode = listener.inode;
    let found = inode.and_then(|inode| found.get(&inode)).unwrap_or(&nobody);
    let (listed, _) = owners::listed(found, None, &mut { owners::MAX_BYTES });
    let socket = engine.table().get(&listener.id)?;
    (socket.state == State::Listen).then(|| {
        Body::Socket(SocketSeen {
            sock: listener.sock,
            state: State::Listen,
            process: None,
            processes: Some(listed),
            ..closed(socket)
        })
    })
}

/// That no process has a socket open says something only of one that is still there: its
/// process may have ended, and closed it, since the call failed. What the kernel lists to
/// nobody by its name, a socket that is only bound, is doubted always.
fn doubt_nobody(kernel: &mut Kernel, seen: &mut Seen) {
    let unowned = seen.holders.iter().filter(|holder| is_unowned(holder));
    let names: Vec<SocketName> = unowned.map(name_of).collect();
    let Some(first) = names.first() else {
        return;
    };
    // All of one port, so of one namespace.
    let there = kernel.look_up_all(first.sock.netns, names.iter().copied());
    let there = there.unwrap_or_default();
    for holder in seen.holders.iter_mut().filter(|holder| is_unowned(holder)) {
        let is_there = there
            .get(&(false, name_of(holder).tuple()))
            .is_some_and(|there| there.state == holder.state);
        if !is_there {
            holder.is_opener_gone = false;
            holder.processes = None;
        }
    }
}

fn name_of(holder: &SeenHolder) -> SocketName {
    SocketName {
        sock: holder.sock,
        local: holder.local,
        peer: holder.peer,
    }
}

/// Who is known to have opened a socket.
fn opener(engine: &Engine, holder: &SeenHolder) -> Option<u32> {
    let id = SocketId::of(&holder.sock, holder.local, holder.peer);
    let socket = engine.socket(&id)?;
    Some(socket.owner.as_ref()?.pid)
}

/// Whether it was looked for who has it open, and nobody was found.
fn is_unowned(holder: &SeenHolder) -> bool {
    !holder.is_mini
        && holder.processes_more == 0
        && holder.processes.as_deref().is_some_and(<[_]>::is_empty)
}
