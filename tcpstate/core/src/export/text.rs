//! Events as one line of text each, for people and pipes.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::event::{
    Applies, Body, Call, Certainty, ClockAnchor, Diagnosis, Direction, Effect, Endpoint, Event,
    ExitReason, Fix, Header, Holder, KnownBy, ProbeStatus, Process, Source, State, StateChange,
    place, rfc3339,
};
use crate::printable::printable;

/// What the text of an event depends on besides the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Ties times to the calendar.
    pub clock: ClockAnchor,
    /// Network namespace of the observer; others are named.
    pub own_netns: Option<u32>,
    /// The run is about one namespace: only where commands are advised does it
    /// matter that it is another one.
    pub is_one_netns: bool,
    /// Of a diagnosis: the call that failed.
    pub failed: Option<&'a Call>,
}

impl Context<'_> {
    /// That of a run.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self {
            clock: header.clock,
            own_netns: header.netns,
            is_one_netns: header.filters.netns.is_some(),
            failed: None,
        }
    }

    /// `netns blue`; `None`: ours, or nothing is to be told apart.
    fn netns(&self, body: &Body) -> Option<String> {
        if self.is_one_netns {
            return None;
        }
        if let Some(call) = body.call() {
            let netns = call.foreign_netns(self.own_netns)?;
            return Some(printable(&netns.to_string()).into_owned());
        }
        let netns = netns_of(body).filter(|netns| self.own_netns.is_some_and(|own| own != *netns));
        netns.map(|netns| format!("netns {netns}"))
    }
}

/// Appends one event as text: a line, for a diagnosis a small block. Ticks are
/// left out; a namespace other than the observer's is named.
pub fn write_event(event: &Event, context: &Context<'_>, out: &mut String) {
    let Some(mut text) = describe(event, context) else {
        return;
    };
    if let Some(netns) = context.netns(&event.body) {
        let end_of_line = text.find('\n').unwrap_or(text.len());
        text.insert_str(end_of_line, &format!("  {netns}"));
    }
    let ts = rfc3339::format(context.clock.realtime_ns(event.mono_ns));
    // 2026-11-18T11:06:41.000000000Z -> 11:06:41.000
    let time = ts.get(11..23).unwrap_or(&ts);
    let mut lines = text.lines();
    if let Some(first) = lines.next() {
        let _ = writeln!(out, "{time}  {first}");
    }
    for line in lines {
        let _ = writeln!(out, "{:12}  {line}", "");
    }
}

/// What happened, in words; `None` for events that say nothing to a person.
#[must_use]
pub fn describe(event: &Event, context: &Context<'_>) -> Option<String> {
    Some(match &event.body {
        Body::Header(header) => {
            let off: Vec<&str> = header
                .probes
                .iter()
                .filter(|probe| probe.status == ProbeStatus::Unavailable)
                .map(|probe| probe.name.as_str())
                .collect();
            let mut text = format!(
                "watching on {} (Linux {}, {} mode)",
                printable(&header.host),
                printable(&header.kernel),
                match header.capture {
                    crate::event::Capture::Functions => "function",
                    crate::event::Capture::Tracepoints => "tracepoint",
                }
            );
            if !off.is_empty() {
                let _ = write!(text, "; not available: {}", printable(&off.join(", ")));
            }
            text
        }
        Body::Socket(seen) => {
            let mut text = if seen.state == State::Closed {
                format!("gone         {}", connection(seen.local, seen.peer))
            } else {
                format!(
                    "{:12} {}  {}",
                    if seen.source == Source::Kernel {
                        "anew"
                    } else {
                        "found"
                    },
                    connection(seen.local, seen.peer),
                    seen.state
                )
            };
            if let Some(ms) = seen.expires_ms {
                let _ = write!(text, ", {} left", seconds(ms));
            }
            push_process(&mut text, seen.process.as_ref());
            text
        }
        Body::State(change) => state_change(change),
        Body::TimeWaitEnter(entered) => {
            let mut text = format!(
                "time_wait    {}  holds the port for {}",
                connection(entered.local, entered.peer),
                seconds(entered.expires_ms)
            );
            let _ = write!(
                text,
                ", left with{} SO_REUSEADDR",
                if entered.reuse.reuseaddr { "" } else { "out" }
            );
            if let Some(process) = &entered.left_by {
                let _ = write!(text, " by {}", name(process));
            }
            text
        }
        Body::TimeWaitExit(exited) => format!(
            "time_wait    {}  over after {}: {}",
            connection(exited.local, exited.peer),
            seconds(exited.lived_ms),
            match exited.reason {
                ExitReason::Expired => "its time ran out",
                ExitReason::Reused => "a new connection took its place",
                ExitReason::Destroyed => "destroyed before its time",
                ExitReason::Unknown => "cannot tell why",
            }
        ),
        Body::Reset(reset) => {
            let mut text = format!(
                "rst {:8} {}",
                match reset.direction {
                    Direction::Sent => "sent",
                    Direction::Received => "received",
                },
                connection(reset.local, reset.peer)
            );
            match (reset.state, &reset.sock) {
                (Some(state), _) => {
                    let _ = write!(text, "  in {state}");
                }
                (None, None) => text.push_str("  no socket there"),
                (None, Some(_)) => {}
            }
            if let Some(reason) = &reset.reason {
                let _ = write!(text, "  reason {}", printable(reason));
            }
            push_process(&mut text, reset.process.as_ref());
            text
        }
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) | Body::Accept(call) => {
            call_text(event.body.name(), call)
        }
        Body::Diagnosis(diagnosis) => diagnosis_text(diagnosis, context),
        Body::Restart(restart) => {
            let mut text = format!(
                "RESTART      :{} down for {}",
                restart.port,
                seconds(restart.downtime_ms)
            );
            let _ = write!(
                text,
                ", {} failed bind{}",
                restart.failed_binds,
                if restart.failed_binds == 1 { "" } else { "s" }
            );
            if let (Some(old), Some(new)) = (&restart.old_process, &restart.new_process) {
                let _ = write!(text, "; {} -> {}", name(old), name(new));
            }
            text
        }
        Body::Fallback(fallback) => format!(
            "FALLBACK     {} failed, {} took :{} instead",
            fallback.failed_ports(),
            name(&fallback.process),
            fallback.took
        ),
        Body::Flood(flood) => format!(
            "FLOOD        {} more failed {}s of uid {} were counted, not explained; the last by {}[{}]",
            flood.count,
            flood.call.name(),
            flood.uid,
            printable(&flood.comm),
            flood.pid
        ),
        Body::Loss(loss) if loss.resynced => {
            "RESYNCED     the table was put right from a snapshot".to_owned()
        }
        Body::Loss(loss) => format!(
            "LOST         {} events; what happened meanwhile is not known",
            loss.count
        ),
        Body::Tick(_) => return None,
        Body::Footer(footer) => {
            let lost: u64 = footer.losses.values().sum();
            let seen: u64 = footer.counts.values().sum();
            format!(
                "end          {seen} events, {lost} lost ({})",
                printable(&footer.ended)
            )
        }
    })
}

fn netns_of(body: &Body) -> Option<u32> {
    match body {
        Body::Socket(seen) => Some(seen.sock.netns),
        Body::State(change) => Some(change.sock.netns),
        Body::TimeWaitEnter(entered) => Some(entered.sock.netns),
        Body::TimeWaitExit(exited) => Some(exited.sock.netns),
        Body::Reset(reset) => reset.sock.map(|sock| sock.netns),
        Body::Restart(restart) => Some(restart.netns),
        Body::Fallback(fallback) => Some(fallback.netns),
        body => body.call()?.sock.map(|sock| sock.netns),
    }
}

fn state_change(change: &StateChange) -> String {
    let (old, new) = (change.old.name(), change.new.name());
    let mut text = format!(
        "{old:>12} -> {new:<12} {}",
        connection(change.local, change.peer)
    );
    if let Some(error) = &change.error {
        let _ = write!(text, "  {}", printable(error));
    }
    if let Some(mini) = &change.mini {
        let _ = write!(text, "  port goes on in {}", mini.state);
    }
    push_process(&mut text, change.process.as_ref());
    text
}

fn call_text(call_name: &str, call: &Call) -> String {
    let asked = match call.requested.addr {
        Some(addr) => Endpoint {
            addr,
            port: call.requested.port,
        }
        .to_string(),
        None => format!(":{}", call.requested.port),
    };
    let mut text = format!("{call_name:12} {asked}");
    match (&call.errno_name, call.errno) {
        _ if call.ok => text.push_str("  ok"),
        (Some(errno), _) => {
            let _ = write!(text, "  FAILED {}", printable(errno));
        }
        (None, Some(errno)) => {
            let _ = write!(text, "  FAILED errno {errno}");
        }
        (None, None) => text.push_str("  FAILED"),
    }
    match (call.is_sum, call.repeated) {
        (false, 0) => {}
        (false, more) => {
            let _ = write!(text, ", and {more} times more since the last one told");
        }
        (true, more) => {
            let _ = write!(text, ", {} times more since the last one told", more + 1);
        }
    }
    push_process(&mut text, Some(&call.process));
    text
}

/// One sentence first, then the evidence, then what to do.
fn diagnosis_text(diagnosis: &Diagnosis, context: &Context<'_>) -> String {
    let doubt = match diagnosis.certainty {
        Certainty::Likely => ", likely",
        Certainty::Proven | Certainty::Unknown => "",
    };
    let mut text = format!(
        "WHY          {}  [{}{doubt}]",
        printable(&diagnosis.summary),
        diagnosis.cause.name()
    );
    let mut line = |label: &str, told: &str| {
        let _ = write!(text, "\n  {label:10} {told}");
    };
    let made_in = context
        .failed
        .and_then(|call| place(call.foreign_netns(context.own_netns), &call.process));
    if let Some(made_in) = made_in {
        line("where", &printable(&made_in));
    }
    for missing in &diagnosis.missing {
        line("not seen", &printable(missing));
    }
    for holder in diagnosis.holders.iter().take(SHOWN_HOLDERS) {
        line("held by", &holder_text(holder));
    }
    let left_out: usize = diagnosis
        .holders
        .iter()
        .enumerate()
        .map(|(index, holder)| {
            usize::from(index >= SHOWN_HOLDERS) + usize::try_from(holder.alike).unwrap_or(0)
        })
        .sum::<usize>()
        + usize::try_from(diagnosis.holders_more).unwrap_or(0);
    if left_out > 0 {
        line("and", &format!("{left_out} more"));
    }
    if let Some(ms) = diagnosis.clears_ms {
        let is_latest = diagnosis
            .holders
            .iter()
            .any(|holder| holder.state == State::FinWait2);
        let about = if is_latest { "at most" } else { "about" };
        line(
            "free in",
            &format!("{about} {} if nobody acts", seconds(ms)),
        );
    }
    for fix in diagnosis.fixes.iter().take(SHOWN_FIXES) {
        for (label, told) in fix_lines(fix) {
            line(label, &told);
        }
    }
    text
}

/// What to do, and below it the command or the line of code.
pub(super) fn fix_lines(fix: &Fix) -> Vec<(&'static str, String)> {
    let label = match fix.applies {
        Applies::Now => "fix",
        Applies::NextTime => "next time",
        Applies::No => "no use",
    };
    let text = printable(&fix.text);
    let mut lines = vec![match (fix.applies, &fix.why) {
        (Applies::No, Some(why)) => (label, format!("{text}: {}", printable(why))),
        _ => (label, text.into_owned()),
    }];
    // Above the command: the line itself is to be pasted.
    let why = fix.why.as_ref().filter(|_| fix.applies != Applies::No);
    match (fix.effect.and_then(Effect::warning), why) {
        (Some(warning), Some(why)) if fix.effect == Some(Effect::Destroys) => {
            lines.push(("", format!("(this {warning}: {})", printable(why))));
        }
        (Some(warning), None) if fix.effect == Some(Effect::Destroys) => {
            lines.push(("", format!("(this {warning})")));
        }
        (_, Some(why)) => lines.push(("", format!("({})", printable(why)))),
        (_, None) => {}
    }
    match (&fix.command, &fix.language) {
        (Some(code), Some(language)) => {
            lines.push(("", format!("{}: {}", printable(language), printable(code))));
        }
        (Some(command), None) => lines.push(("", format!("$ {}", printable(command)))),
        (None, _) => {}
    }
    lines
}

/// `0.0.0.0:8080  listen  nginx[4711]`.
fn holder_text(holder: &Holder) -> String {
    let mut text = format!(
        "{}  {}",
        connection(holder.local, holder.peer),
        holder.state
    );
    let open_in = holder.processes.as_deref().unwrap_or_default();
    let mut names: Vec<String> = open_in
        .iter()
        .take(SHOWN_PROCESSES)
        .map(|process| name(process))
        .collect();
    let more = open_in.len().saturating_sub(SHOWN_PROCESSES)
        + usize::try_from(holder.processes_more).unwrap_or(0);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    if !names.is_empty() {
        let _ = write!(text, "  {}", names.join(", "));
    }
    let opener = holder
        .process
        .as_ref()
        .filter(|process| open_in.iter().all(|other| other.pid != process.pid));
    if let Some(process) = opener {
        let opened_by = if names.is_empty() { "" } else { "opened by " };
        let _ = write!(text, "  {opened_by}{}", name(process));
    }
    if let Some(process) = &holder.left_by {
        let _ = write!(text, "  closed first by {}", name(process));
    }
    if let Some(ms) = holder.expires_ms {
        let _ = write!(text, "  {} left", seconds(ms));
    }
    text
}

const SHOWN_HOLDERS: usize = 5;
/// Processes of one holder that are named.
const SHOWN_PROCESSES: usize = 3;
const SHOWN_FIXES: usize = 7;

fn push_process(text: &mut String, process: Option<&Arc<Process>>) {
    if let Some(process) = process {
        let by = if process.via == KnownBy::Tracked {
            "of"
        } else {
            "by"
        };
        let _ = write!(text, "  {by} {}", name(process));
    }
}

pub(super) fn name(process: &Process) -> String {
    format!("{}[{}]", printable(&process.comm), process.pid)
}

pub(super) fn connection(local: Endpoint, peer: Endpoint) -> String {
    if peer.port == 0 {
        local.to_string()
    } else {
        format!("{local} <-> {peer}")
    }
}

/// Milliseconds as seconds with one digit.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
