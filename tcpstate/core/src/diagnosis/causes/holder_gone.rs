//! `holder_gone`: what held the port was gone when we looked, and the history
//! names it.

use crate::event::{Applies, Cause};

use super::{CauseText, Rule, Verdict};
use crate::diagnosis::PastListener;
use crate::diagnosis::command::Command;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::fixes::fix;
use crate::diagnosis::text;
use crate::model::TIME_WAIT_MS;

pub(super) const RULE: Rule = Rule {
    cause: Cause::HolderGone,
    applies,
    explain,
};

/// A listener that ended longer ago left nothing that could still hold the
/// port: `FIN_WAIT_2` and `TIME_WAIT`, as long each.
const MAX_AGE_MS: u64 = 2 * TIME_WAIT_MS;

fn applies(facts: &Facts<'_>) -> Verdict {
    if !facts.is_port_in_use() || !facts.blockers.is_empty() {
        return Verdict::No;
    }
    match facts.seen() {
        None => Verdict::CannotJudge(
            "the sockets on the port could not be read when the call failed".to_owned(),
        ),
        Some(seen) if !seen.is_complete => Verdict::CannotJudge(format!(
            "only {} of the sockets on the port could be looked at, and none of them stood in the way",
            seen.visited
        )),
        Some(_) if last_listener(facts).is_none() => Verdict::CannotJudge(
            "no socket on the port stood in the way any more when it was looked at, and none \
             was known to have listened on it shortly before"
                .to_owned(),
        ),
        Some(_) => Verdict::Yes,
    }
}

fn last_listener<'a>(facts: &Facts<'a>) -> Option<&'a PastListener> {
    facts
        .failure
        .last_listener
        .filter(|listener| listener.closed_ms_ago <= MAX_AGE_MS)
}

fn explain(facts: &Facts<'_>) -> CauseText {
    let listener = last_listener(facts);
    let who = listener
        .and_then(|listener| listener.process.as_deref())
        .map_or("a process that was not seen".to_owned(), text::process);
    let ago = match listener.map_or(0, |listener| listener.closed_ms_ago) {
        0 => "less than 1 ms".to_owned(),
        ms if ms < 1000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1000),
    };
    CauseText {
        summary: format!(
            "Port {} was taken when {} tried, and free again when it was looked at; the last to \
             listen on it was {who}, which stopped {ago} before.",
            facts.port,
            text::process(&facts.call().process),
        ),
        fixes: vec![
            fix(
                "try_again",
                Applies::Now,
                "Try again: nothing that was seen holds the port now",
            )
            .run(facts, &Command::list_sockets(facts.port)),
            fix(
                "stop_before_start",
                Applies::NextTime,
                "Start the new server only after the old one has ended",
            ),
        ],
        doubts: vec![
            "what held the port was not seen itself: named from who listened on it before"
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::KnownHolder;
    use crate::diagnosis::test_support::{Fixture, PLAIN, holder, process};
    use crate::event::{Certainty, State};

    fn fixture(closed_ms_ago: u64) -> Fixture {
        let mut fixture = Fixture::bind("0.0.0.0", 8080);
        fixture.last_listener = Some(PastListener {
            process: Some(process(12, "nginx").into()),
            closed_ms_ago,
            seq: 5,
        });
        fixture
    }

    #[test]
    fn the_last_listener_is_named() {
        let diagnosis = fixture(12).diagnose();

        assert_eq!(diagnosis.cause, Cause::HolderGone);
        assert_eq!(
            diagnosis.summary,
            "Port 8080 was taken when server[900] tried, and free again when it was looked at; the last to listen on it was nginx[12], which stopped 12 ms before."
        );
        assert_eq!(diagnosis.certainty, Certainty::Likely);
    }

    #[test]
    fn sockets_that_do_not_stand_in_the_way_are_not_accused() {
        let diagnosis = fixture(12)
            .with(
                holder(State::Listen, "127.0.0.1", 8080, PLAIN),
                KnownHolder::default(),
            )
            .diagnose();
        assert_eq!(diagnosis.cause, Cause::ActiveListener);

        let mut fixture = fixture(12).with(
            holder(State::Listen, "127.0.0.1", 8080, PLAIN),
            KnownHolder::default(),
        );
        fixture.call.requested.addr = Some([127, 0, 0, 2].into());
        let diagnosis = fixture.diagnose();
        assert_eq!(diagnosis.cause, Cause::HolderGone);
        assert_eq!(diagnosis.holders, []);
    }

    #[test]
    fn without_history_or_with_gaps_nothing_is_guessed() {
        let mut nothing_seen = fixture(12);
        nothing_seen.call.seen = None;
        for fixture in [
            Fixture::bind("0.0.0.0", 8080),
            fixture(3_600_000),
            fixture(12).incomplete(),
            nothing_seen,
        ] {
            let diagnosis = fixture.diagnose();

            assert_eq!(diagnosis.cause, Cause::Unknown);
            assert_eq!(diagnosis.certainty, Certainty::Unknown);
            assert!(!diagnosis.missing.is_empty());
        }
    }
}
