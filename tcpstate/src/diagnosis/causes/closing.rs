//! `closing`: only sockets that are still closing hold the port; none is in
//! TIME_WAIT yet.

use crate::event::{Applies, Cause, State};

use super::super::facts::Facts;
use super::super::fixes::{self, fix};
use super::super::roles::{self, Role};
use super::super::text;
use super::{Answer, Explanation, Rule, reuseaddr_clause};

pub(super) const RULE: Rule = Rule {
    cause: Cause::Closing,
    applies,
    explain,
};

fn applies(facts: &Facts<'_>) -> Answer {
    facts.leads(Role::Closing).into()
}

fn explain(facts: &Facts<'_>) -> Explanation {
    let leaders = facts.leaders();
    let mut states: Vec<State> = leaders.iter().map(|b| b.seen.state).collect();
    states.sort_unstable();
    states.dedup();
    let states = text::join(states.into_iter().map(text::state).collect()).unwrap_or_default();
    let of = roles::names(&leaders).map_or(String::new(), |names| format!(" of {names}"));
    let (they_go, have) = if leaders.len() == 1 {
        ("it goes", "has")
    } else {
        ("they go", "have")
    };
    let time_wait = fixes::TIME_WAIT_S;
    let until = match facts.clears_ms() {
        Some(ms) => {
            let silent = ms.saturating_sub(time_wait * 1000);
            format!(
                "{they_go} away {} if the peer stays silent, and {} at the latest",
                text::in_seconds(silent),
                text::in_seconds(ms),
            )
        }
        None => format!(
            "how long that takes is up to the peer, and {time_wait} s of TIME_WAIT may follow"
        ),
    };

    let mut fixes = vec![
        fixes::set_reuseaddr(facts),
        fixes::wait(facts),
        fixes::destroy(facts, fixes::DESTROY_LIVE),
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
            .why("it limits how long a closed socket stays in FIN_WAIT_2; it changes nothing for TIME_WAIT, which follows once the peer closes too"),
        );
    }
    fixes.sort_by_key(|fix| fix.applies != Applies::Now);

    Explanation {
        summary: format!(
            "Port {} is still held by {}{of} that {have} not finished closing ({states}); {until}{}.",
            facts.port,
            text::count(leaders.len(), "connection"),
            reuseaddr_clause(facts),
        ),
        fixes,
        doubts: facts.all_doubts(),
    }
}
