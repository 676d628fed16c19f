//! `closing`: only sockets that are still closing hold the port; none is in
//! `TIME_WAIT` yet.

use crate::event::{Applies, Cause, State};

use super::{CauseText, Rule, Verdict, reuseaddr_clause};
use crate::diagnosis::destroy;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::{self, fix};
use crate::diagnosis::roles::{self, HolderRole};
use crate::diagnosis::text;

pub(super) const RULE: Rule = Rule {
    cause: Cause::Closing,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Verdict {
    facts.leads(HolderRole::Closing).into()
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let leaders = facts.leaders();
    let mut states: Vec<State> = leaders.iter().map(|b| b.seen.state).collect();
    states.sort_unstable();
    states.dedup();
    let meanings: Vec<&str> = states.iter().filter_map(|state| meaning(*state)).collect();
    let meaning = meanings.join(", ");
    // The side that closes second has no TIME_WAIT.
    let may_end_in_time_wait = states.iter().any(|state| *state != State::LastAck);
    let of = roles::names(&leaders).map_or(String::new(), |names| format!(" of {names}"));
    let (they_go, have) = if roles::count(&leaders) == 1 {
        ("it goes", "has")
    } else {
        ("they go", "have")
    };
    let time_wait = fixes::TIME_WAIT_S;
    // Of what no process has open `tcp_orphan_retries` is the bound, where 0 acts as 8.
    let are_orphans = leaders.iter().all(|b| b.seen.inode.is_none());
    let bound = if are_orphans {
        "; towards one that stays silent the kernel gives up after net.ipv4.tcp_orphan_retries \
         (0 acts as 8), about two minutes unless it was changed"
    } else {
        ""
    };
    let until = match facts.clears_ms() {
        Some(ms) => {
            let silent = ms.saturating_sub(time_wait * 1000);
            format!(
                "{they_go} away {} if the peer stays silent, {} at the latest",
                text::in_seconds(silent),
                text::in_seconds(ms),
            )
        }
        None if may_end_in_time_wait => format!(
            "how long that takes is up to the peer{bound}, and {time_wait} s of TIME_WAIT may follow"
        ),
        None => format!("how long that takes is up to the peer{bound}"),
    };

    let mut fixes = vec![
        fixes::set_reuseaddr(facts),
        fixes::wait(facts),
        destroy::destroy(facts),
    ];
    if leaders
        .iter()
        .any(|blocker| blocker.seen.state == State::FinWait2)
    {
        fixes.push(
            fix(
                "tcp_fin_timeout",
                Applies::NextTime,
                "Lower net.ipv4.tcp_fin_timeout",
            )
            .because("it limits how long a closed socket stays in FIN_WAIT_2; it changes nothing for TIME_WAIT, which follows once the peer closes too"),
        );
    }

    CauseText {
        summary: format!(
            "Port {} is still held by {}{of} that {have} not finished closing ({meaning}); {until}{}.",
            facts.port,
            text::count(roles::count(&leaders), "connection"),
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}

/// What each state waits for, with its name.
fn meaning(state: State) -> Option<&'static str> {
    Some(match state {
        State::FinWait1 => "FIN_WAIT_1: the peer has not confirmed our end",
        State::FinWait2 => "FIN_WAIT_2: the peer has not closed its side",
        State::Closing => "CLOSING: both sides closed at once",
        State::LastAck => "LAST_ACK: the peer closed first and has not confirmed our end",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_towards_a_silent_peer_has_a_bound_and_what_is_open_has_another() {
        let summary = |inode| {
            let mut closing = holder(State::LastAck, "0.0.0.0", 8080, PLAIN);
            closing.inode = inode;
            let known = left_by(4711, "python3", Origin::Accepted);
            let fixture = Fixture::bind("0.0.0.0", 8080).with(closing, known);
            fixture.diagnose().summary
        };

        assert!(
            summary(None).contains("tcp_orphan_retries"),
            "{}",
            summary(None)
        );
        assert!(!summary(Some(7)).contains("tcp_orphan_retries"));
    }
    use crate::diagnosis::Origin;
    use crate::diagnosis::test_support::{Fixture, PLAIN, REUSE, holder, left_by, mini};
    use crate::event::YesNo;

    #[test]
    fn an_orphan_is_gone_between_its_timer_and_a_time_wait_later() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                mini(State::FinWait2, 8080, REUSE, 40_000),
                left_by(4711, "python3", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::Closing);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 1 connection of python3[4711] that has not finished closing (FIN_WAIT_2: the peer has not closed its side); it goes away in 40 s if the peer stays silent, in 100 s at the latest, and SO_REUSEADDR on the new socket would have let it bind at once."
        );
        assert_eq!(diagnosis.clears_ms, Some(100_000));
        assert_eq!(diagnosis.would_work.reuseaddr, YesNo::Yes);
        assert_eq!(&*diagnosis.fixes[0].id, "set_reuseaddr");
    }

    #[test]
    fn without_a_timer_no_time_is_named() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                holder(State::LastAck, "127.0.0.1", 8080, PLAIN),
                left_by(4711, "python3", Origin::Accepted),
            )
            .with(
                holder(State::FinWait1, "127.0.0.1", 8080, PLAIN),
                left_by(4711, "python3", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::Closing);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 is still held by 2 connections of python3[4711] that have not finished closing (FIN_WAIT_1: the peer has not confirmed our end, LAST_ACK: the peer closed first and has not confirmed our end); how long that takes is up to the peer, and 60 s of TIME_WAIT may follow, and SO_REUSEADDR on the new socket cannot help, because some of what holds the port does not have it."
        );
        assert_eq!(diagnosis.clears_ms, None);
    }

    #[test]
    fn time_wait_beside_it_names_the_cause() {
        let diagnosis = Fixture::bind("0.0.0.0", 8080)
            .with(
                mini(State::FinWait2, 8080, REUSE, 40_000),
                left_by(4711, "python3", Origin::Accepted),
            )
            .with(
                mini(State::TimeWait, 8080, REUSE, 10_000),
                left_by(4711, "python3", Origin::Accepted),
            )
            .diagnose();

        assert_eq!(diagnosis.cause, Cause::TimeWaitNoReuse);
        assert_eq!(diagnosis.clears_ms, Some(100_000));
    }
}
