//! The recording and where it was made, as a list of names and values.

use super::Report;
use super::format::{SHOWN_COMMAND, SHOWN_NAME, clock_time, count, date, duration, list, shown};
use crate::event::{Capture, Filters, Sysctls};

/// What is known about the recording and where it was made, by name.
pub(super) fn of(report: &Report) -> Vec<(&'static str, String)> {
    let recording = &report.recording;
    let environment = &report.environment;
    let mut facts = vec![
        (
            "time",
            format!(
                "{} {} to {} {} UTC, {}",
                date(&recording.begins),
                clock_time(&recording.begins),
                date(&recording.ends),
                clock_time(&recording.ends),
                duration(recording.ends.after_ns)
            ),
        ),
        (
            "end",
            match (&recording.ended, recording.cut_in_line) {
                (_, Some(line)) => format!("cut in line {line}"),
                (Some(ended), None) => shown(ended, SHOWN_COMMAND),
                (None, None) => "cut: there is no footer".to_owned(),
            },
        ),
        ("events", events(report)),
        ("host", shown(&environment.host, SHOWN_COMMAND)),
        (
            "kernel",
            format!(
                "Linux {} {}",
                shown(&environment.kernel, SHOWN_COMMAND),
                shown(&environment.arch, SHOWN_NAME)
            ),
        ),
        ("boot", shown(&environment.boot_id, SHOWN_NAME)),
        (
            "recorded by",
            format!(
                "tcpstate {}: {}",
                shown(&environment.tcpstate, SHOWN_NAME),
                shown(&environment.argv.join(" "), SHOWN_COMMAND)
            ),
        ),
        ("narrowed to", filters(&environment.filters)),
        (
            "observed with",
            format!(
                "{}, {}",
                count(environment.probes_attached, "hook", "hooks"),
                match environment.capture {
                    Capture::Functions => "functions",
                    Capture::Tracepoints => "tracepoints",
                }
            ),
        ),
    ];
    for probe in &environment.probes_missing {
        facts.push((
            "not available",
            format!(
                "{}: {}",
                shown(&probe.name, SHOWN_COMMAND),
                shown(
                    probe.why.as_deref().unwrap_or("not known why"),
                    SHOWN_COMMAND
                )
            ),
        ));
    }
    facts.push(("settings", settings(&environment.sysctls)));
    facts
}

fn events(report: &Report) -> String {
    let counts: Vec<String> = report
        .counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    format!("{} ({})", report.recording.events, counts.join(", "))
}

fn filters(filters: &Filters) -> String {
    let mut parts = Vec::new();
    let mut add = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            parts.push(format!("{name} {}", list(&values, 16)));
        }
    };
    add(
        "port",
        filters
            .ports
            .iter()
            .map(|[first, last]| {
                if first == last {
                    first.to_string()
                } else {
                    format!("{first}-{last}")
                }
            })
            .collect(),
    );
    add("pid", filters.pids.iter().map(u32::to_string).collect());
    add(
        "name",
        filters
            .comms
            .iter()
            .map(|comm| shown(comm, SHOWN_NAME))
            .collect(),
    );
    add(
        "state",
        filters
            .states
            .iter()
            .map(|state| state.name().to_owned())
            .collect(),
    );
    add(
        "address",
        filters.addrs.iter().map(ToString::to_string).collect(),
    );
    add(
        "network namespace",
        filters.netns.iter().map(u32::to_string).collect(),
    );
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join("; ")
    }
}

fn settings(sysctls: &Sysctls) -> String {
    let mut parts = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            parts.push(format!("{name} = {value}"));
        }
    };
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    add("tcp_fin_timeout", number(sysctls.tcp_fin_timeout));
    add("tcp_tw_reuse", number(sysctls.tcp_tw_reuse));
    add("tcp_max_tw_buckets", number(sysctls.tcp_max_tw_buckets));
    add("tcp_rfc1337", number(sysctls.tcp_rfc1337));
    add(
        "ip_local_port_range",
        sysctls
            .ip_local_port_range
            .map(|[first, last]| format!("{first} {last}")),
    );
    add(
        "ip_local_reserved_ports",
        sysctls
            .ip_local_reserved_ports
            .as_deref()
            .map(|ports| shown(ports, SHOWN_COMMAND)),
    );
    add(
        "ip_unprivileged_port_start",
        number(sysctls.ip_unprivileged_port_start),
    );
    add("ip_nonlocal_bind", number(sysctls.ip_nonlocal_bind));
    add("bindv6only", number(sysctls.bindv6only));
    if parts.is_empty() {
        "not readable".to_owned()
    } else {
        parts.join(", ")
    }
}
