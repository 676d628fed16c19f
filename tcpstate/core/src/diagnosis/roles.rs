//! What each socket that stands in the way is: a listener, a connection that
//! somebody keeps, one that goes by itself.

use crate::event::{Holder, Overlap, Process, SeenHolder, State};
use crate::model::TIME_WAIT_MS;

use super::{KnownHolder, Origin, relation, text};

/// What a blocker is, in the order of how long it lasts if nobody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HolderRole {
    /// On its way out, not in `TIME_WAIT` yet.
    Closing,
    /// In `TIME_WAIT`.
    TimeWait,
    /// An outgoing connection that is open.
    Outgoing,
    /// An accepted connection that is open.
    Leftover,
    /// The peer has closed, our side does not.
    CloseWait,
    /// Has the port, neither listens nor is connected.
    Bound,
    /// Listens.
    Listener,
}

/// A socket that stands in the way.
#[derive(Clone, Debug)]
pub(super) struct Blocker<'a> {
    pub(super) seen: &'a SeenHolder,
    pub(super) known: Option<&'a KnownHolder>,
    pub(super) overlap: Overlap,
    pub(super) role: HolderRole,
    /// Made by `connect`, not accepted; once it is closing or in `TIME_WAIT`
    /// only if the port was chosen for it, as it is then like any other.
    pub(super) is_outgoing: bool,
    /// Why `role` and `is_outgoing` had to be assumed.
    pub(super) doubt: Option<String>,
}

/// What helps to distinguish an accepted connection from an outgoing one.
#[derive(Clone, Copy)]
pub(super) struct Hints {
    pub(super) local_port_range: Option<[u16; 2]>,
    pub(super) has_listener_history: bool,
}

impl<'a> Blocker<'a> {
    pub(super) fn new(
        seen: &'a SeenHolder,
        known: Option<&'a KnownHolder>,
        overlap: Overlap,
        hints: Hints,
    ) -> Self {
        let (is_outgoing, doubt) = direction(seen, known, hints);
        let is_chosen = !has_fixed_port(seen, known);
        let role = match seen.state {
            State::Listen => HolderRole::Listener,
            State::Bound | State::Closed => HolderRole::Bound,
            State::TimeWait => HolderRole::TimeWait,
            State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck => {
                HolderRole::Closing
            }
            State::SynSent => HolderRole::Outgoing,
            // Shown to be outgoing, not guessed: then its port is the matter.
            State::CloseWait if is_outgoing && is_chosen && doubt.is_none() => HolderRole::Outgoing,
            State::CloseWait => HolderRole::CloseWait,
            State::Established | State::SynReceived if is_outgoing => HolderRole::Outgoing,
            State::Established | State::SynReceived => HolderRole::Leftover,
        };
        let doubt = match role {
            HolderRole::Listener | HolderRole::Bound | HolderRole::CloseWait => None,
            _ => doubt,
        };
        Self {
            seen,
            known,
            overlap,
            role,
            is_outgoing: match role {
                HolderRole::Outgoing => is_outgoing,
                HolderRole::TimeWait | HolderRole::Closing => is_outgoing && is_chosen,
                HolderRole::Listener
                | HolderRole::Bound
                | HolderRole::CloseWait
                | HolderRole::Leftover => false,
            },
            doubt,
        }
    }

    /// Sockets that it stands for, itself included.
    pub(super) fn count(&self) -> usize {
        1 + usize::try_from(self.seen.alike).unwrap_or(usize::MAX - 1)
    }

    /// Whoever has it open now or, for what is closing, left it.
    pub(super) fn processes(&self) -> Vec<&'a Process> {
        let owner = self.known.and_then(|known| known.owner.as_deref());
        let left_by = self.known.and_then(|known| known.left_by.as_deref());
        let is_leaving = matches!(self.role, HolderRole::TimeWait | HolderRole::Closing);
        if let Some(left_by) = left_by.filter(|_| is_leaving) {
            return vec![left_by];
        }
        match self.seen.processes.as_deref() {
            Some(processes) if !processes.is_empty() => {
                processes.iter().map(|process| &**process).collect()
            }
            _ if self.owner_without_descriptor().is_some() => Vec::new(),
            _ => owner.into_iter().collect(),
        }
    }

    /// Whoever was seen to have its descriptor.
    pub(super) fn open_in(&self) -> Vec<&'a Process> {
        let open_in = self.seen.processes.as_deref().unwrap_or_default();
        open_in.iter().map(|process| &**process).collect()
    }

    /// The process that opened it, where it has none of its descriptors any more and others
    /// do, each of which has executed something else since. A server that forks into the
    /// background, or workers without their master, go on as what opened it.
    pub(super) fn departed_owner(&self) -> Option<&'a Process> {
        let owner = self.known?.owner.as_deref()?;
        let holders = self.seen.processes.as_deref()?;
        let is_gone = !holders.is_empty()
            && holders
                .iter()
                .all(|holder| holder.pid != owner.pid && !relation::is_fork_of(holder, owner));
        is_gone.then_some(owner)
    }

    /// Whether it was looked for who has it open, and nobody was found, nor is anybody known to
    /// have opened it who lives.
    pub(super) fn is_unowned(&self) -> bool {
        let owner = self.known.and_then(|known| known.owner.as_deref());
        self.is_open_nowhere()
            && owner.is_none_or(|owner| self.seen.is_opener_gone && !owner.is_kernel())
    }

    fn is_open_nowhere(&self) -> bool {
        self.seen.processes.as_deref().is_some_and(<[_]>::is_empty)
            && self.seen.processes_more == 0
            && !self.seen.is_mini
    }

    /// The process that opened it, where that has ended and no process has it open.
    pub(super) fn owner_without_descriptor(&self) -> Option<&'a Process> {
        let owner = self.known?.owner.as_deref()?;
        let is_unowned = self.is_open_nowhere() && self.seen.is_opener_gone;
        (is_unowned && !owner.is_kernel()).then_some(owner)
    }

    /// The process that held the port before it for the same parent.
    pub(super) fn predecessor(&self) -> Option<&'a Process> {
        self.known?.predecessor.as_deref()
    }

    /// Milliseconds after which it is gone by itself at the latest; absent:
    /// never, or it depends on others.
    pub(super) fn clears_ms(&self) -> Option<u64> {
        match (self.role, self.seen.is_mini) {
            (HolderRole::TimeWait, _) => self.seen.expires_ms,
            // A FIN that reaches an orphan's FIN_WAIT_2 starts a TIME_WAIT of full length.
            (HolderRole::Closing, true) => Some(self.seen.expires_ms?.saturating_add(TIME_WAIT_MS)),
            _ => None,
        }
    }

    /// Whether it is known to have been left without `SO_REUSEADDR`.
    pub(super) fn lacks_reuseaddr(&self) -> bool {
        self.seen.reuse.is_some_and(|reuse| !reuse.reuseaddr)
    }

    pub(super) fn has_unread_options(&self) -> bool {
        self.seen.reuse.is_none()
    }

    /// As it goes into the event about a call of `caller`.
    pub(super) fn holder(&self, caller: &Process) -> Holder {
        let seen = self.seen;
        let is_leaving = matches!(self.role, HolderRole::TimeWait | HolderRole::Closing);
        let owner = self.known.and_then(|known| known.owner.clone());
        let process = owner.clone().or_else(|| match seen.processes.as_deref() {
            Some([only]) => Some(only.clone()),
            _ => None,
        });
        let left_by = self.known.and_then(|known| known.left_by.clone());
        Holder {
            sock: seen.sock,
            local: seen.local,
            peer: seen.peer,
            state: seen.state,
            overlap: self.overlap,
            reuse: seen.reuse,
            // A mini-socket belongs to nobody any more.
            process: process.filter(|_| !seen.is_mini),
            processes: seen.processes.clone(),
            processes_more: seen.processes_more,
            relation: relation::nearest(self.processes(), caller),
            left_by: left_by
                .or(owner.filter(|_| seen.is_mini))
                .filter(|_| is_leaving),
            expires_ms: seen.expires_ms,
            alike: self.seen.alike,
            is_tripped_over: self.seen.is_tripped_over,
            evidence: self
                .known
                .map_or_else(Vec::new, |known| known.evidence.clone()),
        }
    }
}

/// `python3[4711]`, or words for those that are not known.
pub(super) fn names(blockers: &[&Blocker<'_>]) -> Option<String> {
    let named = text::processes(blockers.iter().flat_map(|blocker| blocker.processes()))?;
    let is_known = |blocker: &&Blocker<'_>| !blocker.processes().is_empty();
    Some(if blockers.iter().all(is_known) {
        named
    } else {
        format!("{named} and others that were not seen")
    })
}

/// The same where nobody was seen: the kernel shows everybody the user of a socket.
pub(super) fn names_or_owner(blockers: &[&Blocker<'_>]) -> String {
    names(blockers).unwrap_or_else(|| {
        let of_user = match owner(blockers) {
            Some(uid) => format!(" (its socket belongs to {})", text::user(uid)),
            None => String::new(),
        };
        format!("a process that could not be seen{of_user}")
    })
}

/// The user whose sockets all of these are.
pub(super) fn owner(blockers: &[&Blocker<'_>]) -> Option<u32> {
    let uid = blockers.first()?.seen.uid?;
    // Older kernels call a socket root's that has no descriptor.
    let is_of_user =
        |blocker: &&Blocker<'_>| blocker.seen.uid == Some(uid) && blocker.seen.inode.is_some();
    blockers.iter().all(is_of_user).then_some(uid)
}

/// Whether `names` names more than one process.
pub(super) fn are_several(blockers: &[&Blocker<'_>]) -> bool {
    let mut processes = blockers.iter().flat_map(|blocker| blocker.processes());
    let first = processes.next().map(|process| process.pid);
    processes.any(|process| Some(process.pid) != first)
}

/// Whether `process` has every one of them; one that is only thought of has none.
pub(super) fn are_all_of(blockers: &[&Blocker<'_>], process: &Process) -> bool {
    process.has_pid()
        && blockers.iter().all(|blocker| {
            let processes = blocker.processes();
            processes.iter().any(|other| other.pid == process.pid)
        })
}

/// Whether `bind` was asked for the very port.
fn has_fixed_port(seen: &SeenHolder, known: Option<&KnownHolder>) -> bool {
    seen.is_port_locked == Some(true)
        || known.is_some_and(|known| known.origin == Origin::OutgoingFromFixedPort)
}

/// Whether `connect` made it, and what had to be assumed for that.
fn direction(
    seen: &SeenHolder,
    known: Option<&KnownHolder>,
    hints: Hints,
) -> (bool, Option<String>) {
    // Its own peer: it was made by `connect` whatever came after (RFC 9293, 3.5).
    if seen.local == seen.peer {
        return (true, None);
    }
    match known.map(|known| known.origin) {
        Some(Origin::Outgoing | Origin::OutgoingFromFixedPort) => return (true, None),
        Some(Origin::Accepted | Origin::Listener) => return (false, None),
        Some(Origin::Unknown) | None => {}
    }
    // An accepted socket never has its port locked; only one that was bound
    // and then connected has.
    let is_fixed = seen.is_port_locked == Some(true);
    match seen.is_connect_bound {
        Some(true) => return (true, None),
        _ if is_fixed || seen.state == State::SynSent => return (true, None),
        Some(false) => return (false, doubt_accepted(seen, hints)),
        None => {}
    }
    let is_live = is_live(seen);
    match hints.local_port_range {
        Some([first, last]) if !(first..=last).contains(&seen.local.port) => {
            let doubt = "whether the connection was accepted was not seen: assumed, because its \
                         port is outside of the range that connect chooses from";
            (false, is_live.then(|| doubt.to_owned()))
        }
        _ if hints.has_listener_history => {
            let doubt = "whether the connection was accepted was not seen: assumed, because a \
                         server listened on this port before";
            (false, is_live.then(|| doubt.to_owned()))
        }
        Some(_) => {
            let doubt = "whether the connection was accepted or outgoing was not seen: its port \
                         is in the range that connect chooses from";
            (is_live, Some(doubt.to_owned()))
        }
        None => {
            let doubt = "whether the connection was accepted or outgoing was not seen, nor the \
                         range that connect chooses ports from";
            (false, Some(doubt.to_owned()))
        }
    }
}

/// Of a socket whose port neither `connect` nor its user chose: `bind` to port
/// 0 before `connect` is left, where nobody listened.
fn doubt_accepted(seen: &SeenHolder, hints: Hints) -> Option<String> {
    let is_out_of_range = hints
        .local_port_range
        .is_some_and(|[first, last]| !(first..=last).contains(&seen.local.port));
    if is_out_of_range || hints.has_listener_history || !is_live(seen) {
        return None;
    }
    Some(
        "whether the connection was accepted was not seen: assumed, though one from a socket \
         that was bound to port 0 would look the same"
            .to_owned(),
    )
}

fn is_live(seen: &SeenHolder) -> bool {
    matches!(seen.state, State::Established | State::SynReceived)
}

/// Sockets that the blockers stand for.
pub(super) fn count(blockers: &[&Blocker<'_>]) -> usize {
    blockers.iter().map(|blocker| blocker.count()).sum()
}
