//! Filters resets that were received from what only looks like one.
//!
//! `tcp_receive_reset` also fires where no RST came: data for a socket that
//! does not receive any more makes the kernel reset it and answer with an RST
//! of its own. The tracepoint has no packet to decide by, but no host answers an
//! RST: if the socket's answer follows, it was data.
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/tcp_input.c#L7022>

use std::collections::VecDeque;

use crate::event::{Body, Direction, Reset, State};

/// The answer is sent at once, microseconds later; a preempted
/// kernel may take longer.
const ANSWER_WITHIN_NS: u64 = 5_000_000;

/// Events, held back while it is open whether one of them is true.
#[derive(Debug, Default)]
pub(super) struct ResetFilter {
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    mono_ns: u64,
    /// Absent: it was not true.
    body: Option<Body>,
    is_unconfirmed: bool,
}

impl ResetFilter {
    /// Takes in an event. `is_answer`: it is an RST that answers a packet.
    pub(super) fn push(
        &mut self,
        mono_ns: u64,
        body: Body,
        is_answer: bool,
        to: &mut Vec<(u64, Body)>,
    ) {
        let is_unconfirmed = match &body {
            Body::Reset(reset) if is_answer => {
                self.on_answer(reset);
                false
            }
            Body::Reset(reset) => is_unconfirmed(reset),
            _ => false,
        };
        self.release(mono_ns, to);
        if self.held.is_empty() && !is_unconfirmed {
            to.push((mono_ns, body));
        } else {
            self.held.push_back(Held {
                mono_ns,
                body: Some(body),
                is_unconfirmed,
            });
        }
    }

    /// Releases what is certain at this time, in order.
    pub(super) fn release(&mut self, now_ns: u64, to: &mut Vec<(u64, Body)>) {
        while let Some(first) = self.held.front() {
            if first.is_unconfirmed && now_ns < first.mono_ns.saturating_add(ANSWER_WITHIN_NS) {
                break;
            }
            let first = self.held.pop_front();
            to.extend(first.and_then(|held| Some((held.mono_ns, held.body?))));
        }
    }

    /// What the socket received was answered: it was no RST.
    fn on_answer(&mut self, answer: &Reset) {
        let cause = self.held.iter_mut().rev().find(|held| {
            held.is_unconfirmed
                && matches!(&held.body, Some(Body::Reset(reset)) if is_same(reset, answer))
        });
        if let Some(cause) = cause {
            cause.body = None;
            cause.is_unconfirmed = false;
        }
    }
}

/// Only a socket that does not receive any more resets itself over data.
fn is_unconfirmed(reset: &Reset) -> bool {
    reset.direction == Direction::Received
        && matches!(
            reset.state,
            Some(
                State::FinWait1
                    | State::FinWait2
                    | State::CloseWait
                    | State::Closing
                    | State::LastAck
            )
        )
}

fn is_same(reset: &Reset, other: &Reset) -> bool {
    reset.sock == other.sock && reset.local == other.local && reset.peer == other.peer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Endpoint, Family, Sock, Tick};

    fn reset(direction: Direction, cookie: u64, state: State) -> Body {
        let at = |port| Endpoint {
            addr: std::net::Ipv4Addr::LOCALHOST.into(),
            port,
        };
        Body::Reset(Reset {
            direction,
            sock: Some(Sock {
                cookie,
                netns: 1,
                family: Family::Ipv4,
            }),
            local: at(80),
            peer: at(40_000),
            state: Some(state),
            reason: None,
            reason_raw: None,
            process: None,
        })
    }

    /// (time, event, is an answer) each; then the time goes on for a second.
    fn passed(events: Vec<(u64, Body, bool)>) -> Vec<u64> {
        let mut resets = ResetFilter::default();
        let mut passed = Vec::new();
        let mut last = 0;
        for (mono_ns, body, is_answer) in events {
            last = mono_ns;
            resets.push(mono_ns, body, is_answer, &mut passed);
        }
        resets.release(last + 1_000_000_000, &mut passed);
        passed.into_iter().map(|(mono_ns, _)| mono_ns).collect()
    }

    fn other(mono_ns: u64) -> (u64, Body, bool) {
        (mono_ns, Body::Tick(Tick {}), false)
    }

    #[test]
    fn what_the_socket_itself_answers_was_no_rst() {
        let (sent, received) = (Direction::Sent, Direction::Received);

        let events = vec![
            (1, reset(received, 7, State::FinWait2), false),
            other(2),
            (3, reset(sent, 7, State::Closed), true),
            other(4),
        ];

        assert_eq!(passed(events), [2, 3, 4]);
    }

    #[test]
    fn what_nobody_answers_was_one_and_keeps_its_place() {
        let (sent, received) = (Direction::Sent, Direction::Received);

        let events = vec![
            other(1),
            (2, reset(received, 7, State::CloseWait), false),
            other(3),
            // Another socket's answer, and one that answers nothing.
            (4, reset(sent, 8, State::Closed), true),
            (5, reset(sent, 7, State::Closed), false),
            other(6 + ANSWER_WITHIN_NS),
            // Too late: this belongs to something else.
            (7 + ANSWER_WITHIN_NS, reset(sent, 7, State::Closed), true),
        ];

        let late = ANSWER_WITHIN_NS;
        assert_eq!(passed(events), [1, 2, 3, 4, 5, 6 + late, 7 + late]);
    }

    #[test]
    fn nothing_waits_for_a_reset_that_is_confirmed() {
        let mut resets = ResetFilter::default();
        let mut passed = Vec::new();

        let certain = reset(Direction::Received, 7, State::Established);
        resets.push(1, certain, false, &mut passed);

        assert_eq!(passed.len(), 1);
    }
}
