//! From a recording's events to the report, in one pass and bounded memory.

mod environment;
mod failures;
mod floods;
mod left_out;
mod loss_windows;

use super::chart::StateSampler;
use super::head_tail::HeadTail;
use super::ports::{self, PortTracks};
use super::resets::{self, Resets};
use super::sockets::{self, SocketTracks};
use super::{
    Clock, FailedCall, Losses, REPORT_VERSION, Report, Restart, StatesOverTime, summary, trim,
};
use crate::diagnosis::CallKind;
use crate::engine::{Engine, Limits};
use crate::event::{Body, Fallback};
use crate::model::PortKey;
use environment::{environment, recording};
use failures::{Failures, ListedFailure, RepeatedFailures, failed_call};
use floods::Floods;
use left_out::LeftOuts;
use loss_windows::{LossWindows, MAX_LOSSES};

/// Fallbacks that are listed, half of them at each end.
const MAX_FALLBACKS: usize = 64;

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

/// Gathers a report while a recording's events pass.
#[derive(Debug)]
pub struct Builder {
    engine: Engine,
    next_seq: u64,
    begin_ns: Option<u64>,
    end_ns: u64,
    ports: PortTracks,
    sockets: SocketTracks,
    chart: StateSampler,
    resets: Resets,
    failures: Failures,
    fallbacks: HeadTail<Fallback>,
    floods: Floods,
    losses: LossWindows,
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
            chart: StateSampler::new(),
            resets: Resets::default(),
            failures: Failures::new(),
            fallbacks: HeadTail::new(MAX_FALLBACKS / 2),
            floods: Floods::default(),
            losses: LossWindows::new(),
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
                self.failures.complete(&failure);
            } else {
                self.failures.note(failure, &mut self.ports);
            }
        } else if let Some(sum) = sum {
            self.failures.note_repeated(&sum, &mut self.ports);
        } else if let Some((errno, times)) = refused {
            self.failures.note_refused(&errno, times);
        }
        for (at_ns, loss) in lost {
            self.losses.note(at_ns, &loss);
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
        self.failures.add_left_out(&mut left_out);
        left_out.add("restarts", restarts_left_out, ports::MAX_RESTARTS);
        left_out.add("ports", ports_left_out, ports::MAX_PORTS);
        left_out.add("resets", self.resets.left_out(), resets::MAX_KINDS);
        let (sockets, sockets_left_out) =
            self.sockets.finish(clock, end_ns, &self.engine, &troubled);
        left_out.add("sockets", sockets_left_out, sockets::MAX_SOCKETS);
        let (mut restarts, ports) = self.ports.finish(clock, end_ns, self.engine.ports());
        left_out.add("fallbacks", self.fallbacks.left_out(), MAX_FALLBACKS);
        left_out.add("losses", self.losses.end(), MAX_LOSSES);

        let (listed, failure_counts, refused_connects) = self.failures.finish(clock);
        for restart in &mut restarts {
            restart.failures = failures_of(restart, &listed);
        }
        let windows = self.losses.finish(&listed, clock);
        let failures: Vec<FailedCall> = listed
            .into_iter()
            .map(|listed| failed_call(listed, clock))
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
            refused_connects,
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

/// The failed calls in the time of a restart.
fn failures_of(restart: &Restart, listed: &[ListedFailure]) -> Vec<u64> {
    let key = PortKey {
        port: restart.port,
        netns: restart.netns,
    };
    let is_of_it = |listed: &&ListedFailure| {
        let seq = listed.failure.seq;
        listed.key == Some(key)
            && listed.failure.kind != CallKind::Connect
            && seq > restart.closed_seq
            && restart.again_seq.is_none_or(|again| seq < again)
    };
    let of_it = listed.iter().filter(is_of_it);
    of_it.map(|listed| listed.failure.seq).collect()
}

/// A chart of nothing but time is none.
fn drawn(chart: StateSampler) -> StatesOverTime {
    let mut drawn = chart.finish();
    if drawn.states.is_empty() {
        drawn.samples.clear();
    }
    drawn
}
