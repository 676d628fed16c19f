//! Asks the kernel about the mini-sockets that are due.
//!
//! In slices, between which events are taken in and written: nobody waits for a
//! round, however large the kernel's tables are. What the kernel answered is judged
//! in the next slice, when all events of the time at which it was asked are there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::changes::{closed, difference};
use super::source::{Slice, SocketName, Source, Unanswered};
use crate::engine::Engine;
use crate::event::{Body, NetnsEnd, SocketSeen};
use crate::model::{NS_PER_MS, SocketId, Tuple};
use crate::pace::{Limit, Pace};
use crate::snapshot::SocketItem;

/// A round follows the one before after this long at the earliest, and after twenty times
/// its cost: polling costs at most a twentieth of a processor.
const LIMIT: Limit = Limit {
    least_ns: 100 * NS_PER_MS,
    factor: 20,
};
/// Longest time that a slice keeps events and keys waiting.
const SLICE_NS: u64 = 2 * NS_PER_MS;
/// Mini-sockets that one round takes on.
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

/// The round that is going on, or when the next one may begin.
#[derive(Debug)]
pub(crate) struct Poll<S: Source> {
    round: Option<Round<S>>,
    pace: Pace,
}

/// Through all that are due.
#[derive(Debug)]
struct Round<S: Source> {
    began_ns: u64,
    cost_ns: u64,
    /// All that are due have been taken off the engine's schedule.
    is_gathered: bool,
    /// Who is to be asked for, by namespace.
    due: BTreeMap<u32, VecDeque<SocketId>>,
    asking: Option<Asking<S>>,
    answers: VecDeque<Answer>,
}

/// How the mini-sockets of a namespace are asked for.
#[derive(Debug)]
enum Asking<S: Source> {
    /// One by one.
    Singly(S::Lookup, VecDeque<SocketId>),
    /// All of the namespace's sockets are gone through.
    Passing(Pass<S::Walk>),
}

/// Through all sockets of a namespace.
#[derive(Debug)]
struct Pass<W> {
    netns: u32,
    walk: W,
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
struct Refused(VecDeque<SocketId>);

#[derive(Debug)]
enum There {
    Found(SocketItem),
    Gone,
    /// The kernel could not be asked.
    Unknown,
}

impl<S: Source> Default for Poll<S> {
    fn default() -> Self {
        Self {
            round: None,
            pace: Pace::default(),
        }
    }
}

impl<S: Source> Poll<S> {
    /// Whether there is something to do now.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.round.is_some() || self.pace.is_due(now_ns)
    }

    /// Whether a round is not over.
    pub(crate) fn is_going_on(&self) -> bool {
        self.round.is_some()
    }

    /// Goes on with the round, or begins one. The engine has all that the hooks have reported.
    /// The facts are those that it lacks.
    pub(crate) fn step(&mut self, engine: &mut Engine, source: &mut S) -> Vec<(u64, Body)> {
        let mut round = self.round.take().unwrap_or_else(|| Round {
            began_ns: source.now_ns(),
            cost_ns: 0,
            is_gathered: false,
            due: BTreeMap::new(),
            asking: None,
            answers: VecDeque::new(),
        });
        let mut facts = Vec::new();
        let began_cpu_ns = source.processor_ns();
        let slice = Slice::of(source, SLICE_NS);
        judge(&mut round.answers, engine, source, slice, &mut facts);
        round.gather(engine, source, slice);
        let is_over =
            !slice.is_over(source) && !round.ask(engine, source, slice) && round.answers.is_empty();
        let cost_ns = source.processor_ns().saturating_sub(began_cpu_ns);
        round.cost_ns = round.cost_ns.saturating_add(cost_ns);
        if is_over {
            self.pace
                .pause(round.began_ns, LIMIT.pause_ns(round.cost_ns));
        } else {
            self.round = Some(round);
        }
        facts
    }
}

impl<S: Source> Round<S> {
    fn gather(&mut self, engine: &mut Engine, source: &S, slice: Slice) {
        let mut count: usize = self.due.values().map(VecDeque::len).sum();
        while !self.is_gathered && !slice.is_over(source) {
            let ids = engine.take_due_polls(self.began_ns, AT_ONCE);
            count += ids.len();
            self.is_gathered = ids.len() < AT_ONCE || count >= MAX_DUE;
            for id in ids {
                if let Some(socket) = engine.table().get(&id) {
                    self.due.entry(socket.sock.netns).or_default().push_back(id);
                }
            }
        }
    }

    /// Asks until the slice is over. `false`: there is nobody left to ask for.
    fn ask(&mut self, engine: &Engine, source: &mut S, slice: Slice) -> bool {
        while !slice.is_over(source) {
            let asking = match self.asking.take() {
                Some(asking) => Ok(asking),
                None => match self.due.pop_first() {
                    Some((netns, ids)) => begin_asking(netns, ids, engine, source),
                    None => return false,
                },
            };
            let asked = asking.and_then(|asking| match asking {
                Asking::Singly(lookup, ids) => {
                    ask_singly(lookup, ids, &mut self.answers, engine, source, slice)
                }
                Asking::Passing(pass) => go_through(pass, &mut self.answers, engine, source, slice),
            });
            match asked {
                Ok(asking) => self.asking = asking,
                Err(Refused(ids)) => {
                    let asked_ns = source.now_ns();
                    self.answers.extend(ids.into_iter().map(|id| Answer {
                        id,
                        asked_ns,
                        there: There::Unknown,
                    }));
                }
            }
        }
        true
    }
}

fn begin_asking<S: Source>(
    netns: u32,
    ids: VecDeque<SocketId>,
    engine: &Engine,
    source: &mut S,
) -> Result<Asking<S>, Refused> {
    let table = engine.table();
    if ids.len() <= SINGLE_LOOKUPS.max(table.len() / LOOKUP_IN_SOCKETS) {
        return begin_singly(netns, ids, source);
    }
    let began_ns = source.now_ns();
    match source.begin_walk(netns) {
        Ok(Some(walk)) => Ok(Asking::Passing(Pass {
            netns,
            walk,
            began_ns,
            wanted: ids
                .iter()
                .filter_map(|id| Some((table.get(id)?.tuple(), *id)))
                .collect(),
        })),
        // The iterator is refused here: ask without it.
        Ok(None) => begin_singly(netns, ids, source),
        Err(_) => Err(Refused(ids)),
    }
}

fn begin_singly<S: Source>(
    netns: u32,
    ids: VecDeque<SocketId>,
    source: &mut S,
) -> Result<Asking<S>, Refused> {
    match source.begin_lookup(netns) {
        Ok(lookup) => Ok(Asking::Singly(lookup, ids)),
        Err(Unanswered) => Err(Refused(ids)),
    }
}

fn ask_singly<S: Source>(
    mut lookup: S::Lookup,
    mut ids: VecDeque<SocketId>,
    answers: &mut VecDeque<Answer>,
    engine: &Engine,
    source: &mut S,
    slice: Slice,
) -> Result<Option<Asking<S>>, Refused> {
    while !slice.is_over(source) {
        let Some(id) = ids.pop_front() else {
            return Ok(None);
        };
        // Where it goes on as another socket, that one's events tell of it.
        let Some(known) = engine.table().get(&id) else {
            continue;
        };
        let asked_ns = source.now_ns();
        let there = match source.look_up(&mut lookup, &SocketName::from(known)) {
            Ok(Some(item)) if item.is_mini => There::Found(item),
            Ok(_) => There::Gone,
            Err(Unanswered) => {
                ids.push_front(id);
                return Err(Refused(ids));
            }
        };
        answers.push_back(Answer {
            id,
            asked_ns,
            there,
        });
    }
    Ok(Some(Asking::Singly(lookup, ids)))
}

fn go_through<S: Source>(
    mut pass: Pass<S::Walk>,
    answers: &mut VecDeque<Answer>,
    engine: &Engine,
    source: &mut S,
    slice: Slice,
) -> Result<Option<Asking<S>>, Refused> {
    let mut items = Vec::new();
    while !slice.is_over(source) {
        let asked_ns = source.now_ns();
        let read = source.read_walk(&mut pass.walk, &mut items);
        for (_, item) in items.drain(..) {
            if item.is_mini
                && let Some(id) = pass.wanted.remove(&item.tuple())
            {
                answers.push_back(Answer {
                    id,
                    asked_ns,
                    there: There::Found(item),
                });
            }
        }
        match read {
            Ok(true) => {}
            Ok(false) => return end_pass(pass, answers, engine, source),
            Err(Unanswered) => return Err(Refused(pass.wanted.into_values().collect())),
        }
    }
    Ok(Some(Asking::Passing(pass)))
}

/// Who was not come across is gone if its time is over. A list that changes
/// while it is read can lack a socket: any other one is looked up by itself.
fn end_pass<S: Source>(
    pass: Pass<S::Walk>,
    answers: &mut VecDeque<Answer>,
    engine: &Engine,
    source: &mut S,
) -> Result<Option<Asking<S>>, Refused> {
    let mut doubtful = VecDeque::new();
    for id in pass.wanted.into_values() {
        let known = engine.table().get(&id);
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
    begin_singly(pass.netns, doubtful, source).map(Some)
}

/// What the answers say that is not known.
fn judge(
    answers: &mut VecDeque<Answer>,
    engine: &Engine,
    source: &impl Source,
    slice: Slice,
    facts: &mut Vec<(u64, Body)>,
) {
    while !slice.is_over(source)
        && let Some(answer) = answers.pop_front()
    {
        let known = engine.table().get(&answer.id);
        let Some(known) = known.filter(|known| known.is_mini) else {
            continue;
        };
        if known.has_changed_since(answer.asked_ns) {
            continue;
        }
        let now_ns = source.now_ns();
        let changed = match answer.there {
            There::Found(item) => {
                let seen = item.to_seen_at(answer.asked_ns, now_ns);
                difference(known, Some(seen), now_ns)
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
        facts.extend(changed.map(|seen| (now_ns, Body::Socket(seen))));
    }
}

#[cfg(test)]
mod tests;
