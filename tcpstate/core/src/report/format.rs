//! The report's words: times, durations, names. Every string that a process
//! or a recording chose comes out harmless and of a bounded length.

use super::{Environment, FailedCall, Moment, Report, Service, trim};
use crate::event::{
    Applies, Effect, Endpoint, Fallback, Fix, ForeignNetns, Holder, Overlap, Process, Requested,
    Reuse, WouldWork, YesNo, location,
};
use crate::identity::identity;
use crate::printable::printable;

/// Characters of a name that are shown.
pub(super) const SHOWN_NAME: usize = 40;
/// Characters of a command line that are shown.
pub(super) const SHOWN_COMMAND: usize = 240;

/// `11:06:41.120`, UTC.
pub(super) fn clock_time(moment: &Moment) -> &str {
    moment.ts.get(11..23).unwrap_or(&moment.ts)
}

/// `11:06:41`, UTC.
pub(super) fn second(moment: &Moment) -> &str {
    moment.ts.get(11..19).unwrap_or(&moment.ts)
}

/// `2026-11-18`.
pub(super) fn date(moment: &Moment) -> &str {
    moment.ts.get(..10).unwrap_or(&moment.ts)
}

/// `+37.412 s`: since the recording began.
pub(super) fn relative(moment: &Moment) -> String {
    let us = moment.after_ns / 1_000;
    if us < 60_000_000 {
        format!("+{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000)
    } else {
        format!("+{}", duration(moment.after_ns))
    }
}

/// A length of time as people say it.
pub(super) fn duration(ns: u64) -> String {
    let us = ns / 1_000;
    let ms = us / 1_000;
    let s = ms / 1_000;
    match ms {
        0 => format!("0.{} ms", us / 100),
        1..10 => format!("{ms}.{} ms", us / 100 % 10),
        10..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{s}.{} s", ms / 100 % 10),
        60_000..3_600_000 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3_600, s / 60 % 60),
    }
}

/// [`duration`] of milliseconds.
pub(super) fn duration_ms(ms: u64) -> String {
    duration(ms.saturating_mul(1_000_000))
}

/// `nginx[4711]`.
pub(super) fn name(process: &Process) -> String {
    format!("{}[{}]", shown(&process.comm, SHOWN_NAME), process.pid)
}

/// The command line, or the executable where that is all that is known.
pub(super) fn command_line(process: &Process) -> Option<String> {
    let line = match (&process.argv, &process.exe) {
        (Some(argv), _) if !argv.is_empty() => argv.join(" "),
        (_, Some(exe)) => exe.to_string(),
        _ => return None,
    };
    Some(shown(&line, SHOWN_COMMAND))
}

/// `10.0.0.1:8080`, with the peer if there is one.
pub(super) fn connection(local: Endpoint, peer: Endpoint) -> String {
    if peer.has_port() {
        format!("{local} ↔ {peer}")
    } else {
        local.to_string()
    }
}

/// What a call asked for.
pub(super) fn requested(requested: Requested) -> String {
    match requested.addr {
        Some(addr) => Endpoint {
            addr,
            port: requested.port,
        }
        .to_string(),
        None => format!("port {}", requested.port),
    }
}

/// `netns blue`; `None`: that of the recording, as far as is known.
pub(super) fn foreign_netns(failure: &FailedCall, environment: &Environment) -> Option<String> {
    let name = failure.netns_name.as_deref();
    let name = name.map(|name| shown(name, SHOWN_NAME));
    let netns = ForeignNetns::of(failure.netns?, name.as_deref(), environment.netns)?;
    Some(netns.to_string())
}

/// `in netns blue, in docker container 0123456789ab`; `None`: it was made where
/// the recording was, as far as is known.
pub(super) fn made_in(failure: &FailedCall, environment: &Environment) -> Option<String> {
    let name = failure.netns_name.as_deref();
    let name = name.map(|name| shown(name, SHOWN_NAME));
    let netns = failure
        .netns
        .and_then(|inode| ForeignNetns::of(inode, name.as_deref(), environment.netns));
    let made_in = location(netns, &failure.process)?;
    Some(shown(&made_in, SHOWN_COMMAND))
}

/// What is to be known before one of the commands is run; `None`: there is none.
pub(super) fn of_then(failure: &FailedCall, report: &Report) -> Option<String> {
    let mut fixes = failure.diagnosis.fixes.iter();
    let has_command = fixes
        .any(|fix| fix.applies != Applies::No && fix.command.is_some() && fix.language.is_none());
    let made_in = made_in(failure, &report.environment);
    has_command.then(|| {
        format!(
            "Commands are of {} {} UTC and of host {}{}: look again before you run one.",
            date(&failure.at),
            second(&failure.at),
            shown(&report.environment.host, SHOWN_NAME),
            made_in.map_or_else(String::new, |made_in| format!(", {made_in}"))
        )
    })
}

/// What a fix's command does, where one is warned of it: `ends connections or
/// processes`.
pub(super) fn warning(fix: &Fix) -> Option<&'static str> {
    let is_run = fix.command.is_some() && fix.language.is_none();
    fix.effect.filter(|_| is_run).and_then(Effect::warning)
}

/// A string of strangers, harmless and cut.
pub(super) fn shown(text: &str, max: usize) -> String {
    trim::text(&printable(&trim::text(text, max)), max)
}

/// A sentence of ours that may hold strings of strangers.
pub(super) fn sentence(text: &str) -> String {
    printable(text).into_owned()
}

/// `SO_REUSEADDR, IPV6_V6ONLY` or `none`.
pub(super) fn options(reuse: Reuse) -> String {
    let set = reuse.names();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(", ")
    }
}

/// What one more option would have changed.
pub(super) fn would_work(would: WouldWork) -> String {
    let answer = |answer| match answer {
        YesNo::Yes => "yes",
        YesNo::No => "no",
        YesNo::Unknown => "cannot tell",
    };
    format!(
        "SO_REUSEADDR: {}; SO_REUSEPORT: {}; IPV6_V6ONLY: {}",
        answer(would.reuseaddr),
        answer(would.reuseport),
        answer(would.v6only)
    )
}

/// How a holder's address meets the requested one.
pub(super) fn overlap(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Exact => "same address",
        Overlap::Wildcard => "one of the two is the wildcard address",
        Overlap::DualStack => "IPv6 socket that takes IPv4, too",
    }
}

/// Who has a holder, or who left it. Whoever opened it may have gone.
pub(super) fn owner(holder: &Holder) -> String {
    let mut parts = Vec::new();
    let now = holder.processes.as_deref().unwrap_or_default();
    if !now.is_empty() {
        let names: Vec<String> = now.iter().map(|process| name(process)).collect();
        let more = match holder.processes_more {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        parts.push(format!("held by {}{more}", list(&names, SHOWN_OWNERS)));
        let identity = now.first().and_then(|process| identity(process));
        parts.extend(identity.map(|identity| format!("({identity})")));
    }
    if let Some(process) = &holder.process
        && now.iter().all(|other| other.pid != process.pid)
    {
        let verb = if now.is_empty() { "of" } else { "opened by" };
        parts.push(format!("{verb} {}", name(process)));
    }
    if let Some(process) = &holder.left_by {
        parts.push(format!("closed first by {}", name(process)));
    }
    parts.join(", ")
}

/// Processes that hold one descriptor and are named.
const SHOWN_OWNERS: usize = 4;

/// `node[4711] could not have :8080 and took :8081.`
pub(super) fn fallback(fallback: &Fallback) -> String {
    format!(
        "{} could not have {} and took :{} instead.",
        name(&fallback.process),
        fallback.failed_ports(),
        fallback.took
    )
}

/// In words for people.
pub(super) fn service(service: Service) -> &'static str {
    match service {
        Service::NotSeen => "nobody seen to listen",
        Service::Listening => "listening",
        Service::Down => "nobody listens",
    }
}

/// `1 socket`, `3 sockets`.
pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `, ` between, and ` and N more` at the end.
pub(super) fn list(items: &[String], shown: usize) -> String {
    let mut text = items
        .iter()
        .take(shown)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if items.len() > shown {
        text += " and ";
        text += &(items.len() - shown).to_string();
        text += " more";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (ns, text) in [
            (0, "0.0 ms"),
            (740_000, "0.7 ms"),
            (3_960_000, "3.9 ms"),
            (152_000_000, "152 ms"),
            (37_412_000_000, "37.4 s"),
            (125_000_000_000, "2 min 5 s"),
            (11_520_000_000_000, "3 h 12 min"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn names_of_strangers_are_harmless_and_short() {
        let text = shown(&"\u{202e}\x1b[2J<b>".repeat(1_000), 40);

        assert!(text.chars().count() <= 41);
        assert!(!text.contains(['\u{202e}', '\x1b']));
    }
}
