//! `tcpstate doctor`: what this kernel and these privileges allow, what each
//! missing hook costs, and what would fix it.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::confine::{KEPT_CAPABILITIES, Run};
use crate::event::{Capture, Probe, ProbeStatus};
use crate::kernel::{Capability, capabilities, lack};
use crate::printable::printable;
use crate::snapshot::sock_diag::SockDiag;
use crate::supervise::trial;

#[derive(Serialize)]
struct DoctorReport {
    tcpstate: &'static str,
    kernel: String,
    arch: &'static str,
    capture: Capture,
    can_watch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    hooks: Vec<Check>,
    /// Calls that no hook of this mode sees.
    not_seen: &'static [&'static str],
    /// What watching costs the programs of this machine.
    slows: &'static str,
    /// What `watch` keeps of its capabilities once its hooks are on.
    keeps: Vec<Keeps>,
}

#[derive(Serialize)]
struct Keeps {
    capability: &'static str,
    why: &'static str,
    /// Whether a plain `watch` keeps it, too.
    always: bool,
}

fn keeps() -> Vec<Keeps> {
    let plain = Run::default().keeps();
    KEPT_CAPABILITIES
        .iter()
        .map(|kept| Keeps {
            capability: kept.name,
            why: kept.reason,
            always: plain.contains(kept),
        })
        .collect()
}

/// What a mode leaves out.
fn not_seen(capture: Capture) -> &'static [&'static str] {
    match capture {
        Capture::Tracepoints => &[
            "bind and listen that succeed through io_uring, and every connect through it (the \
             states of their sockets are shown)",
            "bind, listen and connect of 32-bit programs on a 64-bit kernel",
        ],
        Capture::Functions => &[
            "calls that fail before TCP is asked: a bad descriptor, an address that cannot be read",
        ],
    }
}

/// What a mode costs.
fn slows(capture: Capture) -> &'static str {
    match capture {
        Capture::Tracepoints => {
            "every system call of this machine takes some 7 ns longer, because system call \
             tracepoints are on"
        }
        Capture::Functions => "only calls that concern TCP sockets take longer",
    }
}

#[derive(Serialize)]
struct Check {
    #[serde(flatten)]
    probe: Probe,
    /// What is given up without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<&'static str>,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Tries everything and reports. Finding something missing is no failure.
pub(super) fn run(args: DoctorArgs, capture: Option<Capture>) -> Result<()> {
    let report = examine(capture);
    let text = if args.json {
        serde_json::to_string(&report).context("cannot print the report")? + "\n"
    } else {
        describe(&report)
    };
    super::print(text.as_bytes(), b"")
}

fn examine(capture: Option<Capture>) -> DoctorReport {
    let Capability {
        release,
        probes,
        capture,
        why,
        ..
    } = capabilities(capture);
    let mut hooks: Vec<Check> = probes.into_iter().map(finding).collect();
    hooks.push(finding(sock_diag()));
    hooks.extend(supervision().map(finding));
    DoctorReport {
        tcpstate: env!("CARGO_PKG_VERSION"),
        kernel: release,
        arch: std::env::consts::ARCH,
        capture,
        can_watch: why.is_none(),
        why: why.map(|why| why.to_string()),
        hooks,
        not_seen: not_seen(capture),
        slows: slows(capture),
        keeps: keeps(),
    }
}

fn sock_diag() -> Probe {
    let tried = SockDiag::open(0).and_then(|mut diag| diag.dump());
    Probe {
        name: "sock_diag".to_owned(),
        kind: "netlink".to_owned(),
        status: if tried.is_ok() {
            ProbeStatus::Attached
        } else {
            ProbeStatus::Unavailable
        },
        why: tried.err().map(|error| error.to_string()),
    }
}

/// What `run` rests on.
fn supervision() -> [Probe; 3] {
    let trial::Outcome {
        calls,
        socket,
        addfd_error,
        ..
    } = trial::run();
    [
        (NOTIFICATIONS, calls),
        (CALLERS_SOCKET, socket),
        (PUT_IN_PLACE, addfd_error),
    ]
    .map(|(name, why)| Probe {
        name: name.to_owned(),
        kind: "run".to_owned(),
        status: if why.is_none() {
            ProbeStatus::Attached
        } else {
            ProbeStatus::Unavailable
        },
        why,
    })
}

const NOTIFICATIONS: &str = "seccomp notifications";
const CALLERS_SOCKET: &str = "pidfd_getfd";
const PUT_IN_PLACE: &str = "seccomp addfd";

fn finding(probe: Probe) -> Check {
    let is_missing = probe.status == ProbeStatus::Unavailable;
    let costs = is_missing.then(|| cost_of(&probe.name));
    let fix = is_missing.then(|| fix_for(&probe)).flatten();
    Check { probe, costs, fix }
}

fn cost_of(name: &str) -> &'static str {
    match name {
        "sock_diag" => "a TIME_WAIT's end is found by reading the whole table",
        NOTIFICATIONS => "`tcpstate run` does not work (Linux 5.5)",
        CALLERS_SOCKET => "`tcpstate run` explains and helps nothing (Linux 5.6, ptrace rights)",
        PUT_IN_PLACE => "`tcpstate run --keep` keeps nothing (Linux 5.9)",
        _ => lack(name).unwrap_or("part of the picture is missing"),
    }
}

fn fix_for(probe: &Probe) -> Option<String> {
    let why = probe.why.as_deref().unwrap_or_default();
    let is_refused = why.starts_with("the kernel refused");
    if why.contains("tracefs") || (probe.kind == "tracepoint" && !is_refused) {
        return Some("mount -t tracefs tracefs /sys/kernel/tracing".to_owned());
    }
    (probe.name == "sock_diag").then(|| "modprobe tcp_diag".to_owned())
}

fn describe(report: &DoctorReport) -> String {
    let mut text = format!(
        "tcpstate {} on Linux {} ({})\n\n",
        report.tcpstate,
        printable(&report.kernel),
        report.arch
    );
    if let Some(why) = &report.why {
        let _ = writeln!(text, "cannot watch: {}\n", printable(why));
    }
    for Check { probe, costs, fix } in &report.hooks {
        let mark = match probe.status {
            ProbeStatus::Attached => "ok",
            ProbeStatus::Unavailable => "MISSING",
            ProbeStatus::Unused => "unused",
        };
        let _ = writeln!(
            text,
            "  {mark:8} {:10} {}",
            printable(&probe.kind),
            printable(&probe.name)
        );
        for (label, detail) in [
            ("why", probe.why.as_deref()),
            ("costs", *costs),
            ("fix", fix.as_deref()),
        ] {
            if let Some(detail) = detail {
                let _ = writeln!(text, "           {label}: {}", printable(detail));
            }
        }
    }
    let mode = mode(report.capture);
    let _ = writeln!(text, "\nNot seen in {mode} mode:");
    for calls in report.not_seen {
        let _ = writeln!(text, "  {calls}");
    }
    let _ = writeln!(text, "\nWhile watching, {}.", report.slows);
    text.push_str(
        "\nOnce its hooks are on, `watch` keeps of its privileges (and can gain none):\n",
    );
    for Keeps {
        capability,
        why,
        always,
    } in &report.keeps
    {
        let only = if *always { "" } else { "where needed: " };
        let _ = writeln!(text, "  {capability:20} {only}{why}");
    }
    let verdict = if report.can_watch {
        format!("`tcpstate watch` works here, in {mode} mode.")
    } else {
        "`tcpstate watch` does not work here yet; see above.".to_owned()
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

/// The mode's name in a sentence.
fn mode(capture: Capture) -> &'static str {
    match capture {
        Capture::Functions => "function",
        Capture::Tracepoints => "tracepoint",
    }
}
