//! Asks the kernel about the mini-sockets that are due.
//!
//! In slices, between which events are taken in and written: nobody waits for a
//! look, however large the kernel's tables are. What the kernel answered is judged
//! in the next slice, when all events of the time at which it was asked are there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use anyhow::Result;
use foldhash::fast::FixedState;

use super::{Live, Slice, closed, difference};
use crate::clock;
use crate::event::{Body, NetnsEnd, SocketSeen};
use crate::kernel::Walk;
use crate::model::{NS_PER_MS, SocketId, Tuple};
use crate::snapshot::SocketItem;
use crate::snapshot::sock_diag::SockDiag;

/// A look follows the one before after this long at the earliest.
const EVERY_NS: u64 = 100 * NS_PER_MS;
/// A look is followed by twenty times its cost without one: looking costs at most
/// a twentieth of a processor.
const REST_FACTOR: u64 = 20;
/// Longest time that a slice keeps events and keys waiting.
const SLICE_NS: u64 = 2 * NS_PER_MS;
/// Mini-sockets that one look takes on.
const MAX_DUE: usize = 1 << 20;
/// Mini-sockets that are taken off the schedule between two glances at the clock.
const AT_ONCE: usize = 256;
/// Up to here each one is looked up by itself, however few there are besides.
const SINGLE_LOOKUPS: usize = 128;
/// Looking one up costs about as much as coming across this many in a list.
const LOOKUP_IN_SOCKETS: usize = 8;
/// A mini-socket in a namespace that cannot be found any more is given up this
/// long after its time.
const GIVE_UP_NS: u64 = 5_000 * NS_PER_MS;

/// The look that is going on, or when the next one may begin.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    look: Option<Look>,
    next_ns: u64,
}

/// One look.
#[derive(Debug)]
struct Look {
    began_ns: u64,
    cost_ns: u64,
    /// All that are due have been taken off the engine's schedule.
    is_gathered: bool,
    /// Who is to be asked for, by namespace.
    due: BTreeMap<u32, VecDeque<SocketId>>,
    asking: Option<Asking>,
    answers: VecDeque<Answer>,
}

/// How the mini-sockets of a namespace are asked for.
#[derive(Debug)]
enum Asking {
    /// One by one.
    Singly(SockDiag, VecDeque<SocketId>),
    /// All of the namespace's sockets are gone through.
    Passing(Pass),
}

/// Through all sockets of a namespace.
#[derive(Debug)]
struct Pass {
    netns: u32,
    walk: Walk,
    began_ns: u64,
    /// Who was not come across so far.
    wanted: HashMap<Tuple, SocketId, FixedState>,
}

#[derive(Debug)]
struct Answer {
    id: SocketId,
    /// What changed from then on may or may not be in the answer.
    asked_ns: u64,
    there: There,
}

/// Nobody answers for these.
struct Unanswered(VecDeque<SocketId>);

#[derive(Debug)]
enum There {
    Found(SocketItem),
    Gone,
    /// The kernel could not be asked.
    Unknown,
}

impl Live {
    /// Goes on with the look, or begins one that is due. `true`: it is not over.
    pub(in crate::commands::live) fn resync_due(&mut self, now_ns: u64) -> Result<bool> {
        let mut look = match self.resync.due.look.take() {
            Some(look) => look,
            None if now_ns < self.resync.due.next_ns => return Ok(false),
            None => Look {
                began_ns: now_ns,
                cost_ns: 0,
                is_gathered: false,
                due: BTreeMap::new(),
                asking: None,
                answers: VecDeque::new(),
            },
        };
        // What the hooks saw meanwhile comes first.
        self.catch_up()?;
        let began_cpu_ns = clock::processor_ns();
        let slice = Slice::of(SLICE_NS);
        self.judge(&mut look.answers, slice)?;
        self.gather(&mut look, slice);
        let is_over = !slice.is_over() && !self.ask(&mut look, slice) && look.answers.is_empty();
        look.cost_ns += clock::processor_ns().saturating_sub(began_cpu_ns);
        if is_over {
            let rest_ns = EVERY_NS.max(look.cost_ns * REST_FACTOR);
            self.resync.due.next_ns = look.began_ns + rest_ns;
        } else {
            self.resync.due.look = Some(look);
        }
        Ok(!is_over)
    }

    fn gather(&mut self, look: &mut Look, slice: Slice) {
        let mut count: usize = look.due.values().map(VecDeque::len).sum();
        while !look.is_gathered && !slice.is_over() {
            let ids = self
                .pipeline
                .engine_mut()
                .take_due_polls(look.began_ns, AT_ONCE);
            count += ids.len();
            look.is_gathered = ids.len() < AT_ONCE || count >= MAX_DUE;
            for id in ids {
                if let Some(socket) = self.pipeline.engine().table().get(&id) {
                    look.due.entry(socket.sock.netns).or_default().push_back(id);
                }
            }
        }
    }

    /// Asks until the slice is over. `false`: there is nobody left to ask for.
    fn ask(&mut self, look: &mut Look, slice: Slice) -> bool {
        while !slice.is_over() {
            let asking = match look.asking.take() {
                Some(asking) => Ok(asking),
                None => match look.due.pop_first() {
                    Some((netns, ids)) => self.begin_asking(netns, ids),
                    None => return false,
                },
            };
            let asked = asking.and_then(|asking| match asking {
                Asking::Singly(diag, ids) => self.ask_singly(diag, ids, &mut look.answers, slice),
                Asking::Passing(pass) => self.pass(pass, &mut look.answers, slice),
            });
            match asked {
                Ok(asking) => look.asking = asking,
                Err(Unanswered(ids)) => look.answers.extend(ids.into_iter().map(|id| Answer {
                    id,
                    asked_ns: clock::monotonic_ns(),
                    there: There::Unknown,
                })),
            }
        }
        true
    }

    fn begin_asking(&mut self, netns: u32, ids: VecDeque<SocketId>) -> Result<Asking, Unanswered> {
        let table = self.pipeline.engine().table();
        if ids.len() <= SINGLE_LOOKUPS.max(table.len() / LOOKUP_IN_SOCKETS) {
            return self.begin_singly(netns, ids);
        }
        let began_ns = clock::monotonic_ns();
        let observer = &mut self.observer;
        let namespaces = &mut self.resync.namespaces;
        match namespaces.inside(netns, || observer.begin_walk()) {
            Ok(Ok(walk)) => Ok(Asking::Passing(Pass {
                netns,
                walk,
                began_ns,
                wanted: ids
                    .iter()
                    .filter_map(|id| Some((table.get(id)?.tuple(), *id)))
                    .collect(),
            })),
            // The iterator is refused here: ask without it.
            Ok(Err(_)) => self.begin_singly(netns, ids),
            Err(_) => Err(Unanswered(ids)),
        }
    }

    fn begin_singly(&mut self, netns: u32, ids: VecDeque<SocketId>) -> Result<Asking, Unanswered> {
        let namespaces = &mut self.resync.namespaces;
        match namespaces.inside(netns, || SockDiag::open(netns)) {
            Ok(Ok(diag)) => Ok(Asking::Singly(diag, ids)),
            Ok(Err(_)) | Err(_) => Err(Unanswered(ids)),
        }
    }

    fn ask_singly(
        &self,
        mut diag: SockDiag,
        mut ids: VecDeque<SocketId>,
        answers: &mut VecDeque<Answer>,
        slice: Slice,
    ) -> Result<Option<Asking>, Unanswered> {
        while !slice.is_over() {
            let Some(id) = ids.pop_front() else {
                return Ok(None);
            };
            // Where it goes on as another socket, that one's events tell of it.
            let Some(known) = self.pipeline.engine().table().get(&id) else {
                continue;
            };
            let asked_ns = clock::monotonic_ns();
            let there = match diag.lookup(
                known.sock.family,
                known.local,
                known.peer,
                known.sock.cookie,
            ) {
                Ok(Some(item)) if item.is_mini => There::Found(item),
                Ok(_) => There::Gone,
                Err(_) => {
                    ids.push_front(id);
                    return Err(Unanswered(ids));
                }
            };
            answers.push_back(Answer {
                id,
                asked_ns,
                there,
            });
        }
        Ok(Some(Asking::Singly(diag, ids)))
    }

    fn pass(
        &mut self,
        mut pass: Pass,
        answers: &mut VecDeque<Answer>,
        slice: Slice,
    ) -> Result<Option<Asking>, Unanswered> {
        while !slice.is_over() {
            let asked_ns = clock::monotonic_ns();
            let read = self.observer.go_on(&mut pass.walk, |_, item| {
                if item.is_mini
                    && let Some(id) = pass.wanted.remove(&item.tuple())
                {
                    answers.push_back(Answer {
                        id,
                        asked_ns,
                        there: There::Found(item),
                    });
                }
            });
            match read {
                Ok(true) => {}
                Ok(false) => return self.end_pass(pass, answers),
                Err(_) => return Err(Unanswered(pass.wanted.into_values().collect())),
            }
        }
        Ok(Some(Asking::Passing(pass)))
    }

    /// Who was not come across is gone if its time is over. A list that changes
    /// while it is read can lack a socket: any other one is looked up by itself.
    fn end_pass(
        &mut self,
        pass: Pass,
        answers: &mut VecDeque<Answer>,
    ) -> Result<Option<Asking>, Unanswered> {
        let mut doubtful = VecDeque::new();
        for id in pass.wanted.into_values() {
            let known = self.pipeline.engine().table().get(&id);
            if known.is_some_and(|known| known.remaining_ns(pass.began_ns) == Some(0)) {
                answers.push_back(Answer {
                    id,
                    asked_ns: pass.began_ns,
                    there: There::Gone,
                });
            } else {
                doubtful.push_back(id);
            }
        }
        if doubtful.is_empty() {
            return Ok(None);
        }
        self.begin_singly(pass.netns, doubtful).map(Some)
    }

    /// Feeds what the answers say that is not known.
    fn judge(&mut self, answers: &mut VecDeque<Answer>, slice: Slice) -> Result<()> {
        while !slice.is_over()
            && let Some(Answer {
                id,
                asked_ns,
                there,
            }) = answers.pop_front()
        {
            let known = self.pipeline.engine().table().get(&id);
            let Some(known) = known.filter(|known| known.is_mini) else {
                continue;
            };
            if known.has_changed_since(asked_ns) {
                continue;
            }
            let now_ns = clock::monotonic_ns();
            let news = match there {
                There::Found(item) => {
                    difference(known, Some(item.to_seen_at(asked_ns, now_ns)), now_ns)
                }
                There::Gone => Some(closed(known)),
                There::Unknown => known
                    .expires_at_ns
                    .is_some_and(|at_ns| at_ns.saturating_add(GIVE_UP_NS) < now_ns)
                    .then(|| SocketSeen {
                        netns_ended: Some(NetnsEnd::Unreachable),
                        ..closed(known)
                    }),
            };
            if let Some(seen) = news {
                self.pipeline.feed(now_ns, Body::Socket(seen))?;
            }
        }
        Ok(())
    }
}
