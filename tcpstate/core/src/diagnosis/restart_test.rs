//! What the restarts of a server add up to: each one's outcome, the verdict, the fix.

use crate::event::{
    Applies, Cause, Certainty, Diagnosis, Explanation, Fix, RestartOutcome, RestartRound, Way,
    YesNo,
};

/// A restart may take so much longer than twice the first start, in milliseconds: starts
/// differ by as much on a busy machine, and who tries again waits longer.
const TOLERANCE_MS: u64 = 1_000;

/// What was measured of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Milliseconds from the first start until the server was ready.
    pub first_start_ms: u64,
    /// The same of the restart; `None`: it did not come to that.
    pub start_ms: Option<u64>,
    /// Failed binds of the first start, which did not keep it from being ready.
    pub first_failed_binds: u64,
    /// Those of the restart.
    pub failed_binds: u64,
}

/// What a restart was like.
#[must_use]
pub fn outcome(measured: Measured) -> RestartOutcome {
    let bound_ms = measured
        .first_start_ms
        .saturating_mul(2)
        .saturating_add(TOLERANCE_MS);
    match measured.start_ms {
        None => RestartOutcome::Fails,
        Some(_) if measured.failed_binds > measured.first_failed_binds => RestartOutcome::Waits,
        Some(ms) if ms > bound_ms => RestartOutcome::Waits,
        Some(_) => RestartOutcome::AtOnce,
    }
}

/// What all restarts were like: the worst that is known. None is not known to be at once.
#[must_use]
pub fn verdict(rounds: &[RestartRound]) -> RestartOutcome {
    const WORST_FIRST: [RestartOutcome; 4] = [
        RestartOutcome::Fails,
        RestartOutcome::Waits,
        RestartOutcome::Unknown,
        RestartOutcome::AtOnce,
    ];
    WORST_FIRST
        .into_iter()
        .find(|outcome| rounds.iter().any(|round| round.outcome == *outcome))
        .unwrap_or(RestartOutcome::Unknown)
}

/// The fix of each round's diagnosis, the first ones first, none twice.
///
/// It is for who develops the server and has it restart every time: a change of the program
/// comes before a command, which would be about sockets that are gone by now.
#[must_use]
pub fn fixes(rounds: &[RestartRound]) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = Vec::new();
    for round in rounds {
        let Some(mut fix) = round.diagnosis.as_deref().and_then(|it| fix(round, it)) else {
            continue;
        };
        if fixes.iter().all(|known| known.id != fix.id) {
            if fix.language.is_none() {
                fix.command = None;
                fix.effect = None;
            }
            fixes.push(fix);
        }
    }
    fixes
}

fn fix(round: &RestartRound, diagnosis: &Diagnosis) -> Option<Fix> {
    if is_held_by_child(round, diagnosis) {
        return Some(children_fix(round.way));
    }
    let applicable = || {
        let fixes = diagnosis.fixes.iter();
        fixes.filter(|fix| fix.applies != Applies::No)
    };
    applicable()
        .find(|fix| fix.effect.is_none() && !NO_RESTART.contains(&&*fix.id))
        .or_else(|| applicable().next())
        .cloned()
}

/// Whether what listens is the stopped server's own program in a child: elsewhere that would
/// be another server, which is to be left alone. A child that runs something else was not to
/// have the listener at all.
fn is_held_by_child(round: &RestartRound, diagnosis: &Diagnosis) -> bool {
    let causes = [Cause::ActiveListener, Cause::InheritedListener];
    let is_child = |pid| round.leftover.iter().any(|left| left.pid == pid);
    causes.contains(&diagnosis.cause)
        && diagnosis.holders.iter().any(|holder| {
            let mut children = holder.processes.iter().flatten();
            let opener = holder.process.as_ref();
            children.any(|child| {
                let is_like_opener = opener.is_none_or(|opener| opener.comm == child.comm);
                is_child(child.pid) && is_like_opener
            })
        })
}

fn children_fix(way: Way) -> Fix {
    let (id, text) = if way == Way::ChildLeft {
        (
            "children_end_with_parent",
            "Have the server's child processes end when their parent has gone \
             (PR_SET_PDEATHSIG, or a pipe from it that closes)",
        )
    } else {
        (
            "end_children",
            "Have the server end its child processes, and wait for them, before it ends itself",
        )
    };
    Fix {
        id: id.into(),
        text: text.to_owned(),
        command: None,
        language: None,
        effect: None,
        applies: Applies::NextTime,
        why: None,
    }
}

/// Changes of a program that do not help it to restart on its port.
const NO_RESTART: [&str; 2] = ["other_port", "set_reuseport"];

/// What is said of a failure whose call was not seen, from what a bind like it would meet
/// now. `None`: it would succeed.
#[must_use]
pub fn likely(answer: Explanation) -> Option<Diagnosis> {
    if answer.would_listen != YesNo::No {
        return None;
    }
    let mut missing = answer.missing;
    missing.push(
        "the failed call itself: this is what a socket with the options of the first start's \
         listener would meet"
            .to_owned(),
    );
    Some(Diagnosis {
        of: 0,
        cause: answer.cause?,
        summary: answer.summary,
        holders: answer.holders,
        holders_more: 0,
        clears_ms: answer.clears_ms,
        would_work: answer.would_work,
        fixes: answer.fixes,
        certainty: match answer.certainty {
            Certainty::Proven | Certainty::Likely => Certainty::Likely,
            Certainty::Unknown => Certainty::Unknown,
        },
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Effect, WouldWork};

    fn round(outcome: RestartOutcome) -> RestartRound {
        RestartRound::new(Way::Idle, 1, outcome)
    }

    fn fix(id: &str, applies: Applies, effect: Option<Effect>) -> Fix {
        Fix {
            id: id.into(),
            text: id.to_owned(),
            command: effect.map(|_| "ss -K".to_owned()),
            language: None,
            effect,
            applies,
            why: None,
        }
    }

    fn diagnosis(fixes: Vec<Fix>) -> Diagnosis {
        Diagnosis {
            of: 0,
            cause: Cause::TimeWaitLeftWithoutReuse,
            summary: String::new(),
            holders: Vec::new(),
            holders_more: 0,
            clears_ms: None,
            would_work: WouldWork {
                reuseaddr: YesNo::No,
                reuseport: YesNo::No,
                v6only: YesNo::No,
            },
            fixes,
            certainty: Certainty::Proven,
            missing: Vec::new(),
        }
    }

    #[test]
    fn a_restart_is_at_once_if_it_is_like_the_first_start() {
        let like_first = Measured {
            first_start_ms: 400,
            start_ms: Some(500),
            first_failed_binds: 1,
            failed_binds: 1,
        };
        assert_eq!(outcome(like_first), RestartOutcome::AtOnce);
        for (start_ms, failed_binds, expected) in [
            (None, 0, RestartOutcome::Fails),
            (None, 9, RestartOutcome::Fails),
            (Some(50), 2, RestartOutcome::Waits),
            (Some(1_801), 0, RestartOutcome::Waits),
            (Some(1_800), 0, RestartOutcome::AtOnce),
        ] {
            let measured = Measured {
                start_ms,
                failed_binds,
                ..like_first
            };
            assert_eq!(outcome(measured), expected, "{measured:?}");
        }
    }

    #[test]
    fn the_verdict_is_the_worst_that_is_known() {
        use RestartOutcome::{AtOnce, Fails, Unknown, Waits};

        for (outcomes, expected) in [
            (&[][..], Unknown),
            (&[AtOnce], AtOnce),
            (&[AtOnce, Unknown], Unknown),
            (&[AtOnce, Unknown, Waits], Waits),
            (&[Waits, Fails, Unknown], Fails),
        ] {
            let rounds: Vec<_> = outcomes.iter().copied().map(round).collect();
            assert_eq!(verdict(&rounds), expected, "{outcomes:?}");
        }
    }

    #[test]
    fn a_change_of_the_program_comes_before_a_command_about_sockets_that_are_gone() {
        let first = diagnosis(vec![
            fix("wait", Applies::Now, Some(Effect::Reads)),
            fix("other_port", Applies::Now, None),
            fix("set_tw_reuse", Applies::No, None),
            fix("set_reuseaddr", Applies::NextTime, None),
        ]);
        let second = diagnosis(vec![fix("stop", Applies::Now, Some(Effect::Reads))]);

        let rounds = [&first, &first, &second].map(|diagnosis| RestartRound {
            diagnosis: Some(Box::new(diagnosis.clone())),
            ..round(RestartOutcome::Fails)
        });
        let fixes = fixes(&rounds);

        let ids: Vec<&str> = fixes.iter().map(|fix| &*fix.id).collect();
        assert_eq!(ids, ["set_reuseaddr", "stop"]);
        assert!(fixes.iter().all(|fix| fix.command.is_none()));
    }
}
