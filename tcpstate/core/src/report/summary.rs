//! What happened, in three sentences, and what limits the report.

use std::collections::BTreeMap;

use super::format::{
    count, duration, fallback, foreign_netns, name, requested, second, sentence, shown,
};
use super::{FailedCall, Report, Restart, Service};

/// Characters of a host's name.
const SHOWN_HOST: usize = 60;
/// Hooks and failed calls that a sentence names.
const SHOWN: usize = 4;

/// The failed call to begin with: the latest of the most frequent kind.
pub(super) fn main_failure(report: &Report) -> Option<&FailedCall> {
    let most = report.failure_counts.first()?;
    report
        .failures
        .iter()
        .rev()
        .find(|failure| {
            failure.diagnosis.cause == most.cause
                && failure.call == most.call
                && (failure.requested.port == most.port || failure.call == "connect")
        })
        .or(report.failures.last())
}

/// What happened; why; how it went on.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let what = match main_failure(report) {
        Some(failure) => failed(report, failure),
        None => nothing_failed(report),
    };
    let why = match main_failure(report) {
        Some(failure) => sentence(&failure.diagnosis.summary),
        None => why_it_worked(report),
    };
    vec![what, why, how_it_went_on(report)]
}

fn failed(report: &Report, failure: &FailedCall) -> String {
    let host = shown(&report.environment.host, SHOWN_HOST);
    let total: u64 = report.failure_counts.iter().map(|kind| kind.count).sum();
    let Some(kind) = report.failure_counts.first() else {
        return String::new();
    };
    let error = failure
        .errno_name
        .as_deref()
        .map_or_else(String::new, |errno| format!(" with {}", shown(errno, 20)));
    let netns = foreign_netns(failure, &report.environment)
        .map_or_else(String::new, |netns| format!(" in {netns}"));
    let call = format!(
        "On {host}{netns}, {} to {} by {} failed",
        failure.call,
        requested(failure.requested),
        name(&failure.process)
    );
    let mut text = if kind.count == 1 {
        format!("{call}{error} at {} UTC", second(&failure.at))
    } else {
        let by = if is_one_process(report, failure) {
            String::new()
        } else {
            " (and by others)".to_owned()
        };
        format!(
            "{call}{by}{error} {} times from {} to {} UTC",
            kind.count,
            second(&kind.first),
            second(&kind.last)
        )
    };
    if total > kind.count {
        text += ", and ";
        text += &count(total - kind.count, "other call", "other calls");
        text += " besides";
    }
    text.push('.');
    text
}

fn is_one_process(report: &Report, main: &FailedCall) -> bool {
    report
        .failures
        .iter()
        .filter(|failure| failure.call == main.call && failure.requested == main.requested)
        .all(|failure| failure.process.pid == main.process.pid)
}

/// Nothing is denied that could not be read: a line that is left out may be the one.
fn nothing_failed(report: &Report) -> String {
    let host = shown(&report.environment.host, SHOWN_HOST);
    let span = duration(report.recording.ends.after_ns);
    let unreadable = report.recording.unreadable_lines;
    let flooded: u64 = report.floods.iter().map(|flood| flood.count).sum();
    if flooded > 0 {
        return format!(
            "On {host}, {} in these {span} and {} counted, not explained.",
            count(flooded, "call failed", "calls failed"),
            if flooded == 1 { "was" } else { "were" }
        );
    }
    if unreadable > 0 {
        return format!(
            "On {host}, nothing is known to have failed in these {span}, but {} of the recording \
             could not be read, and a failed call may be in {}.",
            count(unreadable, "line", "lines"),
            if unreadable == 1 { "it" } else { "them" }
        );
    }
    let again: Vec<&Restart> = report
        .restarts
        .iter()
        .filter(|restart| restart.again.is_some())
        .collect();
    match again.as_slice() {
        [] => format!(
            "On {host}, no bind or listen failed and no port was restarted in these {span}."
        ),
        [restart] => format!(
            "On {host}, port {} was restarted once in these {span}, and no bind or listen failed.",
            restart.port
        ),
        many => format!(
            "On {host}, ports were restarted {} times in these {span}, and no bind or listen failed.",
            many.len()
        ),
    }
}

/// Why a restart was not refused.
fn why_it_worked(report: &Report) -> String {
    let Some(restart) = report
        .restarts
        .iter()
        .rev()
        .find(|restart| restart.again.is_some())
    else {
        return if report.recording.unreadable_lines > 0 {
            "What could be read has nothing to explain.".to_owned()
        } else if report.floods.is_empty() {
            "There is nothing to explain.".to_owned()
        } else {
            "They were too many, and none of them was explained.".to_owned()
        };
    };
    let resets: u64 = report.resets.iter().map(|reset| reset.count).sum();
    if restart.time_wait > 0 {
        format!(
            "{} still in TIME_WAIT on port {} and did not stand in the way.",
            count(restart.time_wait, "connection was", "connections were"),
            restart.port
        )
    } else if resets > 0 {
        format!(
            // Seen at both ends on one host, and also from closed ports: no count of connections.
            "Nothing was in TIME_WAIT on port {} any more; {} seen, and a connection that RST cuts \
             off leaves no TIME_WAIT.",
            restart.port,
            count(resets, "reset was", "resets were")
        )
    } else {
        format!("Nothing was in TIME_WAIT on port {} by then.", restart.port)
    }
}

fn how_it_went_on(report: &Report) -> String {
    let main_port = main_failure(report).map(|failure| failure.requested.port);
    let worst = report
        .restarts
        .iter()
        .filter(|restart| main_port.is_none_or(|port| port == restart.port))
        .max_by_key(|restart| (restart.failed_binds > 0, restart.downtime_ms));
    if let Some(worst) = worst {
        return went_down(report, worst);
    }
    let instead = report.fallbacks.iter().rev().find(|fallback| {
        main_port.is_some_and(|port| fallback.failed.iter().any(|tried| tried.port == port))
    });
    if let Some(instead) = instead {
        return fallback(instead);
    }
    let port = main_port.and_then(|port| report.ports.iter().find(|lane| lane.port == port));
    let Some(port) = port else {
        return format!(
            "The recording has {} and ends at {} UTC.",
            count(report.recording.events, "event", "events"),
            second(&report.recording.ends)
        );
    };
    match port.spans.last() {
        Some(span) if span.service == Service::Listening => format!(
            "Port {} never came free: the listening socket{} was there up to the end of the \
             recording.",
            port.port,
            span.process
                .as_ref()
                .map_or(String::new(), |process| format!(" of {}", name(process))),
        ),
        _ => format!(
            "Nobody was seen to listen on port {} in the whole recording.",
            port.port
        ),
    }
}

fn went_down(report: &Report, restart: &Restart) -> String {
    let downtime = duration(restart.down_ns(&report.recording.ends));
    let mut text = match (&restart.again, &restart.new_process) {
        (Some(again), Some(new)) => format!(
            "Port {} was down for {downtime}, until {} listened on it at {} UTC",
            restart.port,
            name(new),
            second(again)
        ),
        (Some(again), None) => format!(
            "Port {} was down for {downtime}, until {} UTC",
            restart.port,
            second(again)
        ),
        (None, _) => format!(
            "Nobody listened on port {} any more when the recording ended, {downtime} after {}",
            restart.port,
            restart.old_process.as_ref().map_or(
                "its listener had gone".to_owned(),
                |process| format!("{} had stopped listening", name(process))
            )
        ),
    };
    let others = report
        .restarts
        .iter()
        .filter(|other| other.closed_seq != restart.closed_seq)
        .count() as u64;
    if others > 0 {
        text += "; ";
        text += &count(others, "further downtime is", "further downtimes are");
        text += " listed below";
    }
    text.push('.');
    text
}

/// What limits the report.
pub(super) fn caveats(report: &Report) -> Vec<String> {
    let mut caveats = Vec::new();
    let recording = &report.recording;
    if let Some(part) = recording.first_part {
        caveats.push(format!(
            "This begins with part {part} of a recording: what was before {} UTC is not known.",
            second(&recording.begins)
        ));
    }
    if let Some(line) = recording.cut_in_line {
        caveats.push(format!(
            "The recording was cut in line {line}: what came after {} UTC is not known.",
            second(&recording.ends)
        ));
    } else if recording.ended.is_none() {
        caveats.push(format!(
            "The recording has no footer: it was cut off, and what came after {} UTC is not known.",
            second(&recording.ends)
        ));
    }
    if recording.unreadable_lines > 0 {
        caveats.push(format!(
            "{} could not be read and {} left out; the first time: {}.",
            count(recording.unreadable_lines, "line", "lines"),
            if recording.unreadable_lines == 1 {
                "is"
            } else {
                "are"
            },
            recording
                .unreadable
                .first()
                .map_or("not known".to_owned(), |why| sentence(why))
        ));
    }
    for flood in report.floods.iter().take(SHOWN) {
        caveats.push(format!(
            "{} of uid {} ({}) failed beside those that are told here: too many to be told one \
             by one, they were counted.",
            count(
                flood.count,
                &format!("{} call", flood.call),
                &format!("{} calls", flood.call)
            ),
            flood.uid,
            shown(&flood.comm, 20)
        ));
    }
    let lost: u64 = report.losses.by_stage.values().sum();
    if lost > 0 {
        let open = report
            .losses
            .windows
            .iter()
            .filter(|window| window.to.is_none())
            .count();
        caveats.push(format!(
            "{} lost: between a loss and the snapshot that made up for it, calls, restarts and \
             states may be missing{}.",
            count(lost, "event was", "events were"),
            if open > 0 {
                ", and the last loss was not made up for"
            } else {
                ""
            }
        ));
    }
    let missing: Vec<String> = report
        .environment
        .probes_missing
        .iter()
        .map(|probe| shown(&probe.name, SHOWN_HOST))
        .collect();
    if !missing.is_empty() {
        caveats.push(format!(
            "{} not available on that kernel: {}; what they show is missing here.",
            count(missing.len() as u64, "hook was", "hooks were"),
            super::format::list(&missing, SHOWN)
        ));
    }
    let mut uncertain: BTreeMap<&str, u64> = BTreeMap::new();
    for failure in &report.failures {
        for missing in &failure.diagnosis.missing {
            *uncertain.entry(missing).or_default() += 1;
        }
    }
    if let Some((missing, calls)) = uncertain.iter().max_by_key(|(_, calls)| **calls) {
        caveats.push(format!(
            "{} not proven in every part: {}.",
            count(*calls, "diagnosis is", "diagnoses are"),
            sentence(missing).trim_end_matches('.')
        ));
    }
    caveats
}
