//! What is advised about a failure: what of it is copied first, and where and
//! when it was meant to be run.

use crate::engine::Failure;
use crate::event::{Applies, Effect, Fix, ForeignNetns, location};
use crate::printable::printable;
use crate::tui::state::view::View;
use crate::tui::text::fit;
use crate::units;

/// Cells of a host's name, and of a namespace's: what stands beside them has to fit
/// on the line, too.
const NAME: usize = 20;

/// The fix that stops whoever holds the port, after a look.
const STOP: &str = "stop_holder";

/// A fix, and the line of it that is copied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Advice<'a> {
    pub(crate) fix: &'a Fix,
    /// Its command, its line of code or its sentence; it cannot steer a terminal.
    pub(crate) line: String,
}

impl Advice<'_> {
    /// It is a command of the shell.
    pub(crate) fn is_run(&self) -> bool {
        self.fix.command.is_some() && self.fix.language.is_none()
    }
}

/// Fixes that can help, in the order in which they are copied; the first is the
/// one that the banner shows.
///
/// 1. What helps now comes before what helps next time only.
/// 2. What can be run or written comes before a sentence.
/// 3. What ends connections or processes comes after all else: nobody is to run
///    it because a key gave it first. So does stopping the holder where the diagnosis
///    advises something else before it, such as to leave a healthy server alone.
pub(crate) fn in_order(fixes: &[Fix]) -> Vec<Advice<'_>> {
    let mut advised: Vec<Advice<'_>> = Vec::new();
    let mut fixes: Vec<&Fix> = fixes
        .iter()
        .filter(|fix| fix.applies != Applies::No)
        .collect();
    let first = fixes.first().map(|fix| &*fix.id);
    let is_last = |fix: &Fix| is_destructive(fix) || (&*fix.id == STOP && first != Some(STOP));
    fixes.sort_by_key(|fix| (is_last(fix), fix.applies, fix.command.is_none()));
    for fix in fixes {
        let line = printable(fix.command.as_deref().unwrap_or(&fix.text)).into_owned();
        // Of two equal lines the second could never be gone on from.
        if advised.iter().all(|other| other.line != line) {
            advised.push(Advice { fix, line });
        }
    }
    advised
}

/// The one that would help now and comes late because it ends something.
pub(crate) fn deferred(fixes: &[Fix]) -> Option<&Fix> {
    let first = fixes.iter().find(|fix| fix.applies == Applies::Now)?;
    let is_deferred = in_order(fixes).first().is_some_and(|it| it.fix != first);
    (is_destructive(first) && is_deferred).then_some(first)
}

pub(crate) fn is_destructive(fix: &Fix) -> bool {
    fix.effect == Some(Effect::Destroys)
}

/// `11:07:14 on host web1`: when and where the call failed.
pub(crate) fn failed_at(view: &View<'_>, failure: &Failure) -> String {
    match view.header() {
        Some(header) => format!(
            "{} on host {}",
            units::to_the_second(&header.clock, failure.mono_ns),
            fit(&header.host, NAME)
        ),
        None => format!("event #{}", failure.seq),
    }
}

/// `in netns blue, in docker container 0123456789ab`; `None`: it failed where
/// tcpstate runs, as far as is known.
pub(crate) fn failed_in(view: &View<'_>, failure: &Failure) -> Option<String> {
    let netns = failure.call.foreign_netns(view.own_netns());
    let name = netns.and_then(|netns| netns.name.map(|name| fit(name, NAME)));
    let netns = netns.map(|netns| ForeignNetns {
        name: name.as_deref(),
        ..netns
    });
    location(netns, &failure.call.process)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(line: &str, effect: Option<Effect>, applies: Applies) -> Fix {
        Fix {
            id: "x".into(),
            text: line.to_owned(),
            command: effect.map(|_| line.to_owned()),
            language: None,
            effect,
            applies,
            why: None,
        }
    }

    fn lines(fixes: &[Fix]) -> Vec<String> {
        in_order(fixes).into_iter().map(|it| it.line).collect()
    }

    /// A healthy server of the same program, an ancestor, a supervisor: whatever comes first
    /// in the diagnosis does so here, though it has no command.
    #[test]
    fn stopping_the_holder_is_first_only_where_the_diagnosis_says_so() {
        let stop = Fix {
            id: STOP.into(),
            ..fix("ps", READS, Applies::Now)
        };
        let leave = fix("leave it", None, Applies::Now);
        let next_time = fix("an option", None, Applies::NextTime);

        assert_eq!(
            lines(&[leave.clone(), stop.clone(), next_time.clone()]),
            ["leave it", "an option", "ps"]
        );
        assert_eq!(
            lines(&[stop, leave, next_time]),
            ["ps", "leave it", "an option"]
        );
    }

    const ENDS: Option<Effect> = Some(Effect::Destroys);
    const READS: Option<Effect> = Some(Effect::Reads);

    #[test]
    fn what_ends_something_comes_last_however_well_it_helps() {
        let fixes = [
            fix("systemctl stop nginx", ENDS, Applies::Now),
            fix("Take another port", None, Applies::Now),
            fix("no", READS, Applies::No),
            fix("set it\nrm -rf", Some(Effect::Changes), Applies::NextTime),
            fix("Open it with SOCK_CLOEXEC", None, Applies::NextTime),
            fix("ss -K", ENDS, Applies::Now),
            fix("ss -tnp", READS, Applies::Now),
        ];

        assert_eq!(
            lines(&fixes),
            [
                "ss -tnp",
                "Take another port",
                "set it\\u{a}rm -rf",
                "Open it with SOCK_CLOEXEC",
                "systemctl stop nginx",
                "ss -K"
            ]
        );
        assert_eq!(deferred(&fixes), Some(&fixes[0]));
        assert_eq!(deferred(&fixes[1..]), None);
    }

    #[test]
    fn what_ends_something_comes_first_only_where_there_is_nothing_else() {
        let only = [
            fix("no", None, Applies::No),
            fix("ss -K", ENDS, Applies::Now),
            fix("ss -K", ENDS, Applies::NextTime),
        ];

        assert_eq!(lines(&only), ["ss -K"]);
        assert_eq!(deferred(&only), None);
    }
}
