//! Which segments must have passed for a socket to go from state to state.
//!
//! Pure. Follows the state machine of RFC 9293, section 3.3.2; the kernel shows
//! the states, the segments are inferred from them.

use crate::event::{Direction, State};

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) direction: Direction,
    pub(crate) name: &'static str,
}

const fn sent(name: &'static str) -> Segment {
    Segment {
        direction: Direction::Sent,
        name,
    }
}

const fn received(name: &'static str) -> Segment {
    Segment {
        direction: Direction::Received,
        name,
    }
}

/// What passed between two states, in order; `before` is `None` at the birth of
/// the socket.
pub(crate) fn passed(before: Option<State>, after: State) -> &'static [Segment] {
    use State::{
        Bound, CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, Listen,
        SynReceived, SynSent, TimeWait,
    };
    const SYN_SENT: &[Segment] = &[sent("SYN")];
    const SYN_CAME: &[Segment] = &[received("SYN"), sent("SYN ACK")];
    const ACK_CAME: &[Segment] = &[received("ACK")];
    const ANSWERED: &[Segment] = &[received("SYN ACK"), sent("ACK")];
    const FIN_SENT: &[Segment] = &[sent("FIN")];
    const FIN_CAME: &[Segment] = &[received("FIN"), sent("ACK")];
    const BOTH_CAME: &[Segment] = &[received("FIN ACK"), sent("ACK")];
    match (before, after) {
        (None | Some(Closed | Bound), SynSent) => SYN_SENT,
        (None | Some(Listen | SynSent), SynReceived) => SYN_CAME,
        (Some(SynSent), Established) => ANSWERED,
        (Some(Established | SynReceived), FinWait1) | (Some(CloseWait), LastAck) => FIN_SENT,
        (Some(FinWait1), TimeWait) => BOTH_CAME,
        (Some(Established), CloseWait) | (Some(FinWait1), Closing) | (Some(FinWait2), TimeWait) => {
            FIN_CAME
        }
        (Some(SynReceived), Established)
        | (Some(FinWait1), FinWait2)
        | (Some(Closing), TimeWait)
        | (Some(LastAck), Closed) => ACK_CAME,
        _ => &[],
    }
}

/// What has to come before the connection is closed on both sides, or open, in
/// order.
pub(crate) fn missing(state: State) -> &'static [Segment] {
    const ANSWER: &[Segment] = &[received("SYN ACK")];
    const ACK: &[Segment] = &[received("ACK")];
    const FIN: &[Segment] = &[received("FIN")];
    const ACK_AND_FIN: &[Segment] = &[received("ACK"), received("FIN")];
    const OUR_FIN: &[Segment] = &[sent("FIN"), received("ACK")];
    match state {
        State::SynSent => ANSWER,
        State::FinWait1 => ACK_AND_FIN,
        State::FinWait2 => FIN,
        State::SynReceived | State::Closing | State::LastAck => ACK,
        State::CloseWait => OUR_FIN,
        State::Listen | State::Bound | State::Established | State::TimeWait | State::Closed => &[],
    }
}

/// Who sent the first FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedFirst {
    Us,
    Peer,
    /// Both at once.
    Both,
    /// Nobody: it is open, or it was cut off.
    Nobody,
    /// It had begun before we saw it.
    Unseen,
}

/// Who closed first, from the states in order.
pub(crate) fn closed_first(states: &[State]) -> ClosedFirst {
    let has = |state| states.contains(&state);
    if has(State::Closing) {
        ClosedFirst::Both
    } else if has(State::FinWait1) || has(State::FinWait2) {
        ClosedFirst::Us
    } else if has(State::CloseWait) || has(State::LastAck) {
        ClosedFirst::Peer
    } else if has(State::TimeWait) {
        ClosedFirst::Unseen
    } else {
        ClosedFirst::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{
        CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, TimeWait,
    };

    /// Names of all segments on the direction, `>` sent, `<` received.
    fn names_of(states: &[State]) -> String {
        let mut before = None;
        let mut names = Vec::new();
        for state in states {
            for segment in passed(before, *state) {
                let direction = match segment.direction {
                    Direction::Sent => '>',
                    Direction::Received => '<',
                };
                names.push(format!("{direction}{}", segment.name));
            }
            before = Some(*state);
        }
        names.join(" ")
    }

    #[test]
    fn a_close_has_two_fins_and_two_acks_whoever_begins() {
        let open = "<SYN >SYN ACK <ACK";
        for (states, close) in [
            (&[FinWait1, FinWait2, TimeWait][..], ">FIN <ACK <FIN >ACK"),
            (&[CloseWait, LastAck, Closed], "<FIN >ACK >FIN <ACK"),
            (&[FinWait1, Closing, TimeWait], ">FIN <FIN >ACK <ACK"),
            (&[FinWait1, TimeWait], ">FIN <FIN ACK >ACK"),
        ] {
            let life = [&[SynReceived, Established], states].concat();
            assert_eq!(names_of(&life), format!("{open} {close}"), "{states:?}");
        }
    }

    #[test]
    fn what_passed_and_what_is_missing_make_a_whole_close() {
        let passed_by = [
            (&[Established, FinWait1][..], 1),
            (&[Established, FinWait1, FinWait2], 2),
            (&[Established, FinWait1, FinWait2, TimeWait], 4),
            (&[Established, CloseWait], 2),
            (&[Established, CloseWait, LastAck], 3),
            (&[Established, FinWait1, Closing], 3),
        ];
        for (states, count) in passed_by {
            let passed: usize = states
                .windows(2)
                .map(|pair| passed(Some(pair[0]), pair[1]).len())
                .sum();
            assert_eq!(passed, count, "{states:?}");
            let last = states[states.len() - 1];
            // Our last ACK answers the FIN that is missing.
            let answer = usize::from(missing(last).contains(&received("FIN")));
            assert_eq!(passed + missing(last).len() + answer, 4, "{states:?}");
        }
    }

    #[test]
    fn a_connection_that_was_cut_off_has_no_close() {
        assert_eq!(
            names_of(&[SynReceived, Established, Closed]),
            "<SYN >SYN ACK <ACK"
        );
        assert_eq!(closed_first(&[Established, Closed]), ClosedFirst::Nobody);
        assert_eq!(closed_first(&[TimeWait]), ClosedFirst::Unseen);
        assert_eq!(closed_first(&[CloseWait]), ClosedFirst::Peer);
    }
}
