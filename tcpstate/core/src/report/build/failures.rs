//! The failed calls of a report: those that are listed, and how many there were of each kind.

use std::collections::BTreeMap;

use super::super::head_tail::HeadTail;
use super::super::ports::PortTracks;
use super::super::{Clock, FailedCall, FailureCount, call_name, trim};
use super::left_out::LeftOuts;
use crate::diagnosis::CallKind;
use crate::engine::{Engine, Failure};
use crate::event::{Call, Cause, Event};
use crate::model::{NS_PER_MS, PortKey};

/// Failed calls that are listed, half of them at each end.
const MAX_FAILURES: usize = 256;
/// Kinds of failed calls that are counted apart.
const MAX_KINDS: usize = 256;
/// Errors of connects that are counted apart.
const MAX_ERRNOS: usize = 64;

/// The port that was asked for, the cause, and the call's name.
type Kind = (u16, Cause, &'static str);

/// A failed call that will be listed; its moments are formatted at the end.
#[derive(Debug)]
pub(super) struct ListedFailure {
    pub(super) failure: Failure,
    pub(super) key: Option<PortKey>,
    holders_left_out: u64,
}

/// Failed calls of one kind.
#[derive(Debug)]
struct KindCount {
    count: u64,
    first_ns: u64,
    last_ns: u64,
    /// The latest of them.
    last_seq: u64,
}

/// Failed calls that were counted, as one event.
pub(super) struct RepeatedFailures {
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
    pub(super) fn of(event: &Event, kind: CallKind, call: &Call, engine: &Engine) -> Option<Self> {
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

/// The failed calls so far.
#[derive(Debug)]
pub(super) struct Failures {
    listed: HeadTail<ListedFailure>,
    kinds: BTreeMap<Kind, KindCount>,
    uncounted: u64,
    /// Connects that failed for a reason that lies with the peer, by their error.
    refused: BTreeMap<String, u64>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self {
            listed: HeadTail::new(MAX_FAILURES / 2),
            kinds: BTreeMap::new(),
            uncounted: 0,
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, failure: Failure, ports: &mut PortTracks) {
        let count = failure.call.failures();
        let port = port_of(&failure);
        let key = failure.call.sock.map(|sock| PortKey {
            port,
            netns: sock.netns,
        });
        if let Some(key) = key.filter(|key| key.port != 0) {
            ports.failed(key, failure.mono_ns, failure.seq, count);
        }
        let kind = (port, failure.diagnosis.cause, call_name(failure.kind));
        self.count_kind(kind, (failure.mono_ns, failure.seq), count);
        let (diagnosis, holders_left_out) = trim::diagnosis(&failure.diagnosis);
        self.listed.push(ListedFailure {
            failure: Failure {
                diagnosis: diagnosis.into(),
                ..failure
            },
            key,
            holders_left_out,
        });
    }

    /// What was listed of it is explained better now.
    pub(super) fn complete(&mut self, failure: &Failure) {
        let is_it = |listed: &&mut ListedFailure| listed.failure.seq == failure.seq;
        let Some(listed) = self.listed.iter_mut().rev().find(is_it) else {
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
            if let Some(kind) = self.kinds.get_mut(&(port, before, call)) {
                kind.count = kind.count.saturating_sub(count);
            }
            self.kinds.retain(|_, kind| kind.count > 0);
            let kind = (port, failure.diagnosis.cause, call);
            self.count_kind(kind, (failure.mono_ns, failure.seq), count);
        }
    }

    /// Calls that were only counted: with the cause of the one that was explained.
    pub(super) fn note_repeated(&mut self, sum: &RepeatedFailures, ports: &mut PortTracks) {
        if let Some(key) = sum.key.filter(|key| key.port != 0) {
            ports.failed(key, sum.mono_ns, sum.seq, sum.count);
        }
        let port = sum.key.map_or(0, |key| key.port);
        let kind = (port, sum.cause, call_name(sum.kind));
        self.count_kind(kind, (sum.mono_ns, sum.seq), sum.count);
    }

    pub(super) fn note_refused(&mut self, errno: &str, times: u64) {
        let errno = trim::text(errno, trim::MAX_WORD);
        if self.refused.len() < MAX_ERRNOS || self.refused.contains_key(&errno) {
            *self.refused.entry(errno).or_default() += times;
        }
    }

    fn count_kind(&mut self, kind: Kind, (mono_ns, seq): (u64, u64), count: u64) {
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&kind) {
            let counted = self.kinds.entry(kind).or_insert(KindCount {
                count: 0,
                first_ns: mono_ns,
                last_ns: mono_ns,
                last_seq: seq,
            });
            counted.count = counted.count.saturating_add(count);
            counted.last_ns = mono_ns;
            counted.last_seq = seq;
        } else {
            self.uncounted = self.uncounted.saturating_add(count);
        }
    }

    pub(super) fn add_left_out(&self, left_out: &mut LeftOuts) {
        left_out.add("failed calls", self.listed.left_out(), MAX_FAILURES);
        left_out.add(
            "failed calls that are counted nowhere by cause",
            self.uncounted,
            MAX_KINDS,
        );
    }

    /// What is listed, the counts by kind, and the connects that were refused, by error.
    pub(super) fn finish(
        self,
        clock: Clock,
    ) -> (Vec<ListedFailure>, Vec<FailureCount>, BTreeMap<String, u64>) {
        let mut kinds: Vec<(Kind, KindCount)> = self.kinds.into_iter().collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse((kind.count, kind.last_seq)));
        let counts = kinds
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

        (self.listed.into_vec(), counts, self.refused)
    }
}

pub(super) fn failed_call(listed: ListedFailure, clock: Clock) -> FailedCall {
    let ListedFailure {
        failure,
        holders_left_out,
        ..
    } = listed;
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
            .map(|name| trim::text(name, trim::MAX_WORD).into()),
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

fn port_of(failure: &Failure) -> u16 {
    match failure.kind {
        CallKind::Connect => failure.call.local.map_or(0, |local| local.port),
        CallKind::Bind | CallKind::Listen => failure.call.requested.port,
    }
}
