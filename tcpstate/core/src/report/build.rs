//! From a recording's events to the report, in one pass and bounded memory.

use std::collections::BTreeMap;

use super::chart::Chart;
use super::head_tail::HeadTail;
use super::ports::{self, PortTracks};
use super::resets::{self, Resets};
use super::sockets::{self, SocketTracks};
use super::{
    Clock, Environment, FailedCall, FailureCount, FloodCount, LeftOut, LossWindow, Losses,
    REPORT_VERSION, Recording, Report, StatesOverTime, call_name, summary, trim,
};
use crate::diagnosis::CallKind;
use crate::engine::{Engine, Failure, Limits};
use crate::event::{Body, Call, Cause, Event, Fallback, Flood, Header, Loss, ProbeStatus};
use crate::model::{NS_PER_MS, PortKey};

/// Failed calls that are listed, half of them at each end.
const MAX_FAILURES: usize = 256;
/// Kinds of failed calls that are counted apart.
const MAX_FAILURE_KINDS: usize = 256;
/// Fallbacks that are listed, half of them at each end.
const MAX_FALLBACKS: usize = 64;
/// Losses that are listed, half of them at each end.
const MAX_LOSSES: usize = 128;
/// Arguments and filters that are listed.
const MAX_ARGUMENTS: usize = 64;

/// How the reading of the file went.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The first part that there is of a recording in several files, where that
    /// is not its beginning.
    pub first_part: Option<u32>,
    /// The line in which the file breaks off.
    pub cut_in_line: Option<u64>,
    /// Lines that could not be read.
    pub unreadable_lines: u64,
    /// What was wrong with the first few of them.
    pub unreadable: Vec<String>,
}

/// A failed call that will be listed; its moments are formatted at the end.
#[derive(Debug)]
struct ListedFailure {
    failure: Failure,
    key: Option<PortKey>,
    holders_left_out: u64,
}

/// Failed calls of one kind.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) count: u64,
    first_ns: u64,
    last_ns: u64,
    /// The latest of them.
    pub(super) last_seq: u64,
}

/// A stretch that losses make uncertain.
#[derive(Debug)]
struct Window {
    from_ns: u64,
    to_ns: Option<u64>,
    count: u64,
}

fn port_of(failure: &Failure) -> u16 {
    match failure.kind {
        CallKind::Connect => failure.call.local.map_or(0, |local| local.port),
        CallKind::Bind | CallKind::Listen => failure.call.requested.port,
    }
}

/// Failed calls that were counted, as one event.
struct RepeatedFailures {
    mono_ns: u64,
    seq: u64,
    kind: CallKind,
    key: Option<PortKey>,
    cause: Cause,
    count: u64,
}

impl RepeatedFailures {
    /// `None`: it is a failed connect that says nothing about a port of this host, or one
    /// that is explained by itself.
    fn of(event: &Event, kind: CallKind, call: &Call, engine: &Engine) -> Option<Self> {
        if !call.is_sum {
            return None;
        }
        let like = engine.failure_like(kind, call);
        if kind == CallKind::Connect && like.is_none() {
            return None;
        }
        let port = match kind {
            CallKind::Connect => call.local.map_or(0, |local| local.port),
            CallKind::Bind | CallKind::Listen => call.requested.port,
        };
        Some(Self {
            mono_ns: event.mono_ns,
            seq: event.seq,
            kind,
            key: call.sock.map(|sock| PortKey {
                port,
                netns: sock.netns,
            }),
            cause: like.map_or(Cause::Unknown, |failure| failure.diagnosis.cause),
            count: call.failures(),
        })
    }
}

/// Users whose floods a report lists; the others' are added to the last one's.
const MAX_FLOODS: usize = 64;

/// Failed calls that were counted with nothing but their user.
#[derive(Debug, Default)]
struct Floods(BTreeMap<(u32, &'static str), FloodCount>);

impl Floods {
    fn note(&mut self, flood: &Flood) {
        let key = (flood.uid, flood.call.name());
        let is_full = self.0.len() >= MAX_FLOODS && !self.0.contains_key(&key);
        if is_full {
            if let Some(mut last) = self.0.last_entry() {
                let counted = last.get_mut();
                counted.count = counted.count.saturating_add(flood.count);
            }
            return;
        }
        let counted = self.0.entry(key).or_insert_with(|| FloodCount {
            call: flood.call.name().to_owned(),
            uid: flood.uid,
            comm: String::new(),
            count: 0,
        });
        counted.comm = trim::text(&flood.comm, MAX_ERRNO);
        counted.count = counted.count.saturating_add(flood.count);
    }

    fn finish(self) -> Vec<FloodCount> {
        let mut floods: Vec<FloodCount> = self.0.into_values().collect();
        floods.sort_by_key(|flood| std::cmp::Reverse(flood.count));
        floods
    }
}

/// Gathers a report while a recording's events pass.
#[derive(Debug)]
pub struct Builder {
    engine: Engine,
    next_seq: u64,
    begin_ns: Option<u64>,
    end_ns: u64,
    ports: PortTracks,
    sockets: SocketTracks,
    chart: Chart,
    resets: Resets,
    failures: HeadTail<ListedFailure>,
    failure_kinds: BTreeMap<(u16, Cause, &'static str), Kind>,
    uncounted_failures: u64,
    fallbacks: HeadTail<Fallback>,
    refused_connects: BTreeMap<String, u64>,
    floods: Floods,
    windows: HeadTail<Window>,
    window: Option<Window>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A report about nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            engine: Engine::new(Limits::default()),
            next_seq: 0,
            begin_ns: None,
            end_ns: 0,
            ports: PortTracks::new(),
            sockets: SocketTracks::default(),
            chart: Chart::new(),
            resets: Resets::default(),
            failures: HeadTail::new(MAX_FAILURES / 2),
            failure_kinds: BTreeMap::new(),
            uncounted_failures: 0,
            fallbacks: HeadTail::new(MAX_FALLBACKS / 2),
            refused_connects: BTreeMap::new(),
            floods: Floods::default(),
            windows: HeadTail::new(MAX_LOSSES / 2),
            window: None,
        }
    }

    /// Counts positions from `seq` on, if nothing has happened yet.
    pub fn begin_at(&mut self, seq: u64) {
        self.engine.begin_at(seq);
        self.next_seq = self.engine.next_seq();
    }

    /// The position that the next event will have.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Takes in one event of the recording. Derived ones are ignored: the
    /// engine makes them anew.
    pub fn observe(&mut self, mono_ns: u64, body: Body) {
        self.engine.observe(mono_ns, body);
        let from = self.next_seq;
        self.next_seq = self.engine.next_seq();
        let Self {
            engine,
            begin_ns,
            end_ns,
            ports,
            sockets,
            chart,
            resets,
            fallbacks,
            floods,
            ..
        } = self;
        let mut failed = None;
        let mut sum = None;
        let mut refused = None;
        let mut lost = Vec::new();
        let (mut has_late_holders, mut is_late) = (false, false);
        for event in engine.log().since(from) {
            begin_ns.get_or_insert(event.mono_ns);
            *end_ns = (*end_ns).max(event.mono_ns);
            chart.note(event.mono_ns, engine.table().counts());
            ports.note(event, engine.ports());
            sockets.note(event, engine);
            match &event.body {
                Body::Reset(reset) => resets.note(event.mono_ns, event.seq, reset),
                Body::Bind(call) if call.is_sum => {
                    sum = RepeatedFailures::of(event, CallKind::Bind, call, engine);
                }
                Body::Listen(call) if call.is_sum => {
                    sum = RepeatedFailures::of(event, CallKind::Listen, call, engine);
                }
                Body::Connect(call) if !call.ok => {
                    sum = RepeatedFailures::of(event, CallKind::Connect, call, engine);
                    if sum.is_none() {
                        let errno = call.errno_name.as_deref().unwrap_or("unknown");
                        refused = Some((errno.to_owned(), call.failures()));
                    }
                }
                Body::Flood(flood) => floods.note(flood),
                Body::Diagnosis(diagnosis) => {
                    sockets.note_holders(event.mono_ns, diagnosis, engine);
                    let mut latest = engine.failures().rev();
                    failed = latest.find(|failure| failure.seq == diagnosis.of).cloned();
                    is_late = has_late_holders;
                }
                Body::Holders(_) => has_late_holders = true,
                Body::Fallback(fallback) => fallbacks.push(trim::fallback(fallback)),
                Body::Loss(loss) => lost.push((event.mono_ns, loss.clone())),
                _ => {}
            }
        }
        if let Some(failure) = failed {
            if is_late {
                self.complete_failure(&failure);
            } else {
                self.note_failure(failure);
            }
        } else if let Some(sum) = sum {
            self.note_repeated(&sum);
        } else if let Some((errno, times)) = refused {
            self.note_refused(&errno, times);
        }
        for (at_ns, loss) in lost {
            self.note_loss(at_ns, &loss);
        }
    }

    /// What was listed of it is explained better now.
    fn complete_failure(&mut self, failure: &Failure) {
        let is_it = |listed: &&mut ListedFailure| listed.failure.seq == failure.seq;
        let Some(listed) = self.failures.iter_mut().rev().find(is_it) else {
            return;
        };
        let (diagnosis, holders_left_out) = trim::diagnosis(&failure.diagnosis);
        let before = listed.failure.diagnosis.cause;
        listed.failure.call = failure.call.clone();
        listed.failure.diagnosis = diagnosis.into();
        listed.holders_left_out = holders_left_out;
        if before != failure.diagnosis.cause {
            let (port, call) = (port_of(failure), call_name(failure.kind));
            let count = failure.call.failures();
            if let Some(kind) = self.failure_kinds.get_mut(&(port, before, call)) {
                kind.count = kind.count.saturating_sub(count);
            }
            self.failure_kinds.retain(|_, kind| kind.count > 0);
            let kind = (port, failure.diagnosis.cause, call);
            self.count_kind(kind, (failure.mono_ns, failure.seq), count);
        }
    }

    fn note_failure(&mut self, failure: Failure) {
        let count = failure.call.failures();
        let port = port_of(&failure);
        let key = failure.call.sock.map(|sock| PortKey {
            port,
            netns: sock.netns,
        });
        if let Some(key) = key.filter(|key| key.port != 0) {
            self.ports.failed(key, failure.mono_ns, failure.seq, count);
        }
        let kind = (port, failure.diagnosis.cause, call_name(failure.kind));
        self.count_kind(kind, (failure.mono_ns, failure.seq), count);
        let (diagnosis, holders_left_out) = trim::diagnosis(&failure.diagnosis);
        self.failures.push(ListedFailure {
            failure: Failure {
                diagnosis: diagnosis.into(),
                ..failure
            },
            key,
            holders_left_out,
        });
    }

    fn count_kind(
        &mut self,
        kind: (u16, Cause, &'static str),
        (mono_ns, seq): (u64, u64),
        count: u64,
    ) {
        if self.failure_kinds.len() < MAX_FAILURE_KINDS || self.failure_kinds.contains_key(&kind) {
            let counted = self.failure_kinds.entry(kind).or_insert(Kind {
                count: 0,
                first_ns: mono_ns,
                last_ns: mono_ns,
                last_seq: seq,
            });
            counted.count = counted.count.saturating_add(count);
            counted.last_ns = mono_ns;
            counted.last_seq = seq;
        } else {
            self.uncounted_failures = self.uncounted_failures.saturating_add(count);
        }
    }

    /// Calls that were only counted: with the cause of the one that was explained.
    fn note_repeated(&mut self, sum: &RepeatedFailures) {
        if let Some(key) = sum.key.filter(|key| key.port != 0) {
            self.ports.failed(key, sum.mono_ns, sum.seq, sum.count);
        }
        let port = sum.key.map_or(0, |key| key.port);
        let kind = (port, sum.cause, call_name(sum.kind));
        self.count_kind(kind, (sum.mono_ns, sum.seq), sum.count);
    }

    fn note_refused(&mut self, errno: &str, times: u64) {
        let errno = trim::text(errno, MAX_ERRNO);
        if self.refused_connects.len() < MAX_ERRNOS || self.refused_connects.contains_key(&errno) {
            *self.refused_connects.entry(errno).or_default() += times;
        }
    }

    fn note_loss(&mut self, at_ns: u64, loss: &Loss) {
        if loss.count > 0 || !loss.resynced {
            let window = self.window.get_or_insert(Window {
                from_ns: at_ns,
                to_ns: None,
                count: 0,
            });
            window.count = window.count.saturating_add(loss.count);
        }
        if loss.resynced
            && let Some(window) = self.window.take()
        {
            self.windows.push(Window {
                to_ns: Some(at_ns),
                ..window
            });
        }
    }

    /// The report; `None` without a header, since then it is no recording.
    #[must_use]
    pub fn finish(mut self, reading: Reading) -> Option<Report> {
        let header = self.engine.header()?.clone();
        let clock = Clock {
            start_ns: self.begin_ns?,
            anchor: header.clock,
        };
        let end_ns = self.end_ns;
        let troubled = self.ports.troubled();
        let (ports_left_out, restarts_left_out) = self.ports.left_out();
        let mut left_out = LeftOuts::default();
        left_out.add("failed calls", self.failures.left_out(), MAX_FAILURES);
        left_out.add(
            "failed calls that are counted nowhere by cause",
            self.uncounted_failures,
            MAX_FAILURE_KINDS,
        );
        left_out.add("restarts", restarts_left_out, ports::MAX_RESTARTS);
        left_out.add("ports", ports_left_out, ports::MAX_PORTS);
        left_out.add("resets", self.resets.left_out(), resets::MAX_KINDS);
        let (sockets, sockets_left_out) =
            self.sockets.finish(clock, end_ns, &self.engine, &troubled);
        left_out.add("sockets", sockets_left_out, sockets::MAX_SOCKETS);
        let (mut restarts, ports) = self.ports.finish(clock, end_ns, self.engine.ports());
        if let Some(window) = self.window.take() {
            self.windows.push(window);
        }
        left_out.add("fallbacks", self.fallbacks.left_out(), MAX_FALLBACKS);
        left_out.add("losses", self.windows.left_out(), MAX_LOSSES);

        let kept = self.failures.into_vec();
        for restart in &mut restarts {
            restart.failures = kept
                .iter()
                .filter(|kept| {
                    kept.key
                        == Some(PortKey {
                            port: restart.port,
                            netns: restart.netns,
                        })
                        && kept.failure.kind != CallKind::Connect
                        && kept.failure.seq > restart.closed_seq
                        && restart
                            .again_seq
                            .is_none_or(|again| kept.failure.seq < again)
                })
                .map(|kept| kept.failure.seq)
                .collect();
        }
        let windows = self
            .windows
            .into_vec()
            .into_iter()
            .map(|window| loss_window(&window, &kept, clock))
            .collect();
        let failures: Vec<FailedCall> = kept
            .into_iter()
            .map(|kept| failed_call(kept, clock))
            .collect();
        let mut kinds: Vec<((u16, Cause, &'static str), Kind)> =
            self.failure_kinds.into_iter().collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse((kind.count, kind.last_seq)));
        let failure_counts = kinds
            .iter()
            .map(|((port, cause, call), kind)| FailureCount {
                call: (*call).to_owned(),
                port: *port,
                cause: *cause,
                count: kind.count,
                first: clock.at(kind.first_ns),
                last: clock.at(kind.last_ns),
            })
            .collect();
        let mut report = Report {
            report: REPORT_VERSION.to_owned(),
            summary: Vec::new(),
            caveats: Vec::new(),
            recording: recording(&self.engine, &header, clock, end_ns, reading),
            environment: environment(header),
            restarts,
            failures,
            failure_counts,
            fallbacks: self.fallbacks.into_vec(),
            refused_connects: self.refused_connects,
            floods: self.floods.finish(),
            ports,
            sockets,
            states: drawn(self.chart),
            resets: self.resets.finish(clock),
            losses: Losses {
                by_stage: self
                    .engine
                    .losses()
                    .iter()
                    .map(|(stage, count)| ((*stage).to_owned(), *count))
                    .collect(),
                windows,
            },
            counts: self
                .engine
                .counts()
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            left_out: left_out.0,
        };
        report.summary = summary::sentences(&report);
        report.caveats = summary::caveats(&report);
        Some(report)
    }
}

/// Characters of an error's name, and errors that are told apart.
const MAX_ERRNO: usize = 32;
const MAX_ERRNOS: usize = 64;

/// A chart of nothing but time is none.
fn drawn(chart: Chart) -> StatesOverTime {
    let mut drawn = chart.finish();
    if drawn.states.is_empty() {
        drawn.samples.clear();
    }
    drawn
}

#[derive(Debug, Default)]
struct LeftOuts(Vec<LeftOut>);

impl LeftOuts {
    fn add(&mut self, what: &str, count: u64, limit: usize) {
        if count > 0 {
            self.0.push(LeftOut {
                what: what.to_owned(),
                count,
                limit: limit as u64,
            });
        }
    }
}

fn failed_call(kept: ListedFailure, clock: Clock) -> FailedCall {
    let ListedFailure {
        failure,
        holders_left_out,
        ..
    } = kept;
    let call = &failure.call;
    FailedCall {
        seq: failure.seq,
        at: clock.at(failure.mono_ns),
        call: call_name(failure.kind).to_owned(),
        requested: call.requested,
        netns: call.sock.map(|sock| sock.netns),
        netns_name: call
            .netns_name
            .as_ref()
            .map(|name| trim::text(name, trim::MAX_NAME).into()),
        errno: call.errno,
        errno_name: call
            .errno_name
            .as_ref()
            .map(|name| trim::text(name, MAX_ERRNO).into()),
        reuse: call.reuse,
        process: trim::process(&call.process),
        via: call.via,
        clears: failure
            .diagnosis
            .clears_ms
            .map(|ms| clock.at(failure.mono_ns.saturating_add(ms.saturating_mul(NS_PER_MS)))),
        diagnosis: (*failure.diagnosis).clone(),
        holders_left_out,
    }
}

fn loss_window(window: &Window, kept: &[ListedFailure], clock: Clock) -> LossWindow {
    LossWindow {
        from: clock.at(window.from_ns),
        to: window.to_ns.map(|to_ns| clock.at(to_ns)),
        count: window.count,
        failures: kept
            .iter()
            .map(|kept| (kept.failure.mono_ns, kept.failure.seq))
            .filter(|(at_ns, _)| {
                *at_ns >= window.from_ns && window.to_ns.is_none_or(|to_ns| *at_ns <= to_ns)
            })
            .map(|(_, seq)| seq)
            .collect(),
    }
}

fn recording(
    engine: &Engine,
    header: &Header,
    clock: Clock,
    end_ns: u64,
    reading: Reading,
) -> Recording {
    let ended = engine
        .footer()
        .map(|footer| trim::text(&footer.ended, trim::MAX_TEXT));
    Recording {
        schema: trim::text(&header.schema, MAX_ERRNO),
        begins: clock.at(clock.start_ns),
        ends: clock.at(end_ns),
        events: engine.counts().values().sum(),
        is_complete: ended.is_some()
            && reading.cut_in_line.is_none()
            && reading.first_part.is_none()
            && reading.unreadable_lines == 0,
        ended,
        first_part: reading.first_part,
        cut_in_line: reading.cut_in_line,
        unreadable_lines: reading.unreadable_lines,
        unreadable: reading.unreadable,
    }
}

fn environment(mut header: Header) -> Environment {
    let short = |part: &String| trim::text(part, trim::MAX_TEXT);
    let Header { filters, .. } = &mut header;
    filters.ports.truncate(MAX_ARGUMENTS);
    filters.pids.truncate(MAX_ARGUMENTS);
    filters.comms.truncate(MAX_ARGUMENTS);
    filters.comms = filters.comms.iter().map(short).collect();
    filters.states.truncate(MAX_ARGUMENTS);
    filters.addrs.truncate(MAX_ARGUMENTS);
    header.sysctls.ip_local_reserved_ports =
        header.sysctls.ip_local_reserved_ports.as_ref().map(short);
    let attached = |status| {
        header
            .probes
            .iter()
            .filter(move |probe| probe.status == status)
    };
    Environment {
        tcpstate: short(&header.tcpstate),
        argv: header.argv.iter().take(MAX_ARGUMENTS).map(short).collect(),
        host: short(&header.host),
        kernel: short(&header.kernel),
        arch: short(&header.arch),
        boot_id: short(&header.boot_id),
        netns: header.netns,
        capture: header.capture,
        probes_attached: attached(ProbeStatus::Attached).count() as u64,
        probes_missing: attached(ProbeStatus::Unavailable)
            .take(MAX_ARGUMENTS)
            .map(|probe| crate::event::Probe {
                name: short(&probe.name),
                kind: short(&probe.kind),
                status: probe.status,
                why: probe.why.as_ref().map(short),
            })
            .collect(),
        filters: header.filters,
        sysctls: header.sysctls,
    }
}
