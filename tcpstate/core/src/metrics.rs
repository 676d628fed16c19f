//! What a service counts: failed calls, restarts, sockets and resets by port, in series whose
//! number is bounded whatever a user of the host does.
//!
//! Names, labels and units are those of Prometheus; how they are written is not decided here.

mod bounded;
mod family;
mod histogram;
mod ports;

use std::collections::{BTreeMap, BTreeSet};

pub use family::{Family, Kind, Label, Sample, Value};
pub use histogram::Histogram;
pub use ports::{MAX_PORTS, MAX_PORTS_OF_A_USER};

use crate::diagnosis::CallKind;
use crate::engine::{Engine, Failure};
use crate::event::{Body, Call, CallName, Cause, Direction, Event, Reset, Restart, State};
use bounded::Names;
use ports::{PortLabel, PortLabels};

/// Names of errors, and of reasons, that are told apart.
pub const MAX_NAMES: usize = 64;

/// Of failed calls: call, errno, cause (none: it was not diagnosed), port.
type FailedKey = (&'static str, usize, Option<Cause>, PortLabel);

/// Counters, while events pass.
#[derive(Clone, Debug)]
pub struct Metrics {
    next_seq: u64,
    /// The latest failed call that was counted with its cause.
    diagnosed_seq: Option<u64>,
    ports: PortLabels,
    errnos: Names,
    reasons: Names,
    failed: BTreeMap<FailedKey, u64>,
    restarts: BTreeMap<PortLabel, u64>,
    downtimes: BTreeMap<PortLabel, Histogram>,
    resets: BTreeMap<(&'static str, usize, PortLabel), u64>,
    /// Series of sockets that were given once: they go to 0, and do not vanish.
    sockets: BTreeSet<(State, PortLabel)>,
}

impl Metrics {
    /// Nothing was counted yet. These ports have series of their own from the beginning, others
    /// get them when somebody listens there, up to [`MAX_PORTS`].
    #[must_use]
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        Self {
            next_seq: 0,
            diagnosed_seq: None,
            ports: PortLabels::new(ports),
            errnos: Names::new(MAX_NAMES),
            reasons: Names::new(MAX_NAMES),
            failed: BTreeMap::new(),
            restarts: BTreeMap::new(),
            downtimes: BTreeMap::new(),
            resets: BTreeMap::new(),
            sockets: BTreeSet::new(),
        }
    }

    /// Counts what has happened since the last time. To be called before the engine's log
    /// forgets it.
    pub fn observe(&mut self, engine: &Engine) {
        let from = std::mem::replace(&mut self.next_seq, engine.next_seq());
        for event in engine.log().since(from) {
            self.count(event, engine);
        }
    }

    fn count(&mut self, event: &Event, engine: &Engine) {
        match &event.body {
            Body::Bind(call) => self.count_sum(CallKind::Bind, call, engine),
            Body::Listen(call) if call.ok => {
                let port = call.local.map_or(call.requested.port, |local| local.port);
                self.admit(port, Some(call.process.uid), engine);
            }
            Body::Listen(call) => self.count_sum(CallKind::Listen, call, engine),
            Body::Connect(call) if !call.ok => self.count_connect(call, engine),
            Body::Socket(seen) if seen.state == State::Listen => {
                let uid = seen.process.as_ref().map(|process| process.uid);
                self.admit(seen.local.port, uid, engine);
            }
            // A failed call is explained anew when more is known of it.
            Body::Diagnosis(diagnosis) if self.diagnosed_seq.is_none_or(|it| diagnosis.of > it) => {
                self.diagnosed_seq = Some(diagnosis.of);
                let mut latest = engine.failures().rev();
                if let Some(failure) = latest.find(|failure| failure.seq == diagnosis.of) {
                    self.count_failure(failure, diagnosis.cause);
                }
            }
            Body::Flood(flood) => {
                let errno = self.errnos.other();
                let key = (flood.call.name(), errno, None, PortLabel::Other);
                add(&mut self.failed, key, flood.count);
            }
            Body::Restart(restart) => self.count_restart(restart, engine),
            Body::Reset(reset) => self.count_reset(reset),
            _ => {}
        }
    }

    /// Gives the port a series of its own, if there is room.
    fn admit(&mut self, port: u16, uid: Option<u32>, engine: &Engine) {
        let is_served = |port: u16| {
            let mut histories = engine.ports().of_port(port);
            histories.any(|history| !history.listeners.is_empty())
        };
        if let Some(evicted) = self.ports.admit(port, uid, is_served) {
            self.fold(PortLabel::Port(evicted));
        }
    }

    /// What was counted of a port that has no series any more is counted with the others.
    fn fold(&mut self, from: PortLabel) {
        let failed = self
            .failed
            .extract_if(.., |(_, _, _, port), _| *port == from);
        for ((call, errno, cause, _), count) in failed.collect::<Vec<_>>() {
            add(
                &mut self.failed,
                (call, errno, cause, PortLabel::Other),
                count,
            );
        }
        let resets = self.resets.extract_if(.., |(_, _, port), _| *port == from);
        for ((direction, reason, _), count) in resets.collect::<Vec<_>>() {
            add(
                &mut self.resets,
                (direction, reason, PortLabel::Other),
                count,
            );
        }
        if let Some(count) = self.restarts.remove(&from) {
            add(&mut self.restarts, PortLabel::Other, count);
        }
        if let Some(downtimes) = self.downtimes.remove(&from) {
            let others = self.downtimes.entry(PortLabel::Other).or_default();
            others.add(&downtimes);
        }
        self.sockets.retain(|(_, port)| *port != from);
    }

    fn count_failure(&mut self, failure: &Failure, cause: Cause) {
        let call = &failure.call;
        let port = match failure.kind {
            CallKind::Connect => call.local.map_or(0, |local| local.port),
            CallKind::Bind | CallKind::Listen => call.requested.port,
        };
        self.add_failed(failure.kind, call, Some(cause), port);
    }

    /// Calls that were only counted, with the cause of the one that was explained.
    fn count_sum(&mut self, kind: CallKind, call: &Call, engine: &Engine) {
        if call.is_sum {
            let like = engine.failure_like(kind, call);
            let cause = like.map(|failure| failure.diagnosis.cause);
            self.add_failed(kind, call, cause, call.requested.port);
        }
    }

    /// Most connects fail for what the other side does, and have no diagnosis.
    fn count_connect(&mut self, call: &Call, engine: &Engine) {
        let like = engine.failure_like(CallKind::Connect, call);
        match like {
            None => self.add_failed(CallKind::Connect, call, None, 0),
            Some(_) => self.count_sum(CallKind::Connect, call, engine),
        }
    }

    fn add_failed(&mut self, kind: CallKind, call: &Call, cause: Option<Cause>, port: u16) {
        let errno = self
            .errnos
            .of(call.errno_name.as_deref().unwrap_or(UNKNOWN));
        let key = (name_of(kind), errno, cause, self.ports.label(port));
        add(&mut self.failed, key, call.failures());
    }

    fn count_restart(&mut self, restart: &Restart, engine: &Engine) {
        let uid = restart.new_process.as_ref().map(|process| process.uid);
        self.admit(restart.port, uid, engine);
        let port = self.ports.label(restart.port);
        add(&mut self.restarts, port, 1);
        let downtimes = self.downtimes.entry(port).or_default();
        downtimes.observe_ms(restart.downtime_ms);
    }

    fn count_reset(&mut self, reset: &Reset) {
        let reason = self.reasons.of(reset.reason.as_deref().unwrap_or(UNKNOWN));
        let port = self.ports.label(reset.local.port);
        let direction = match reset.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        add(&mut self.resets, (direction, reason, port), 1);
    }

    /// All series as they are now, families and samples in the order of their names.
    pub fn families(&mut self, engine: &Engine, version: &str) -> Vec<Family> {
        vec![
            self.failed_calls(),
            self.restarts(),
            self.downtimes(),
            self.sockets(engine),
            self.resets(),
            lost(engine),
            Family {
                name: "tcpstate_build_info",
                help: "The version of tcpstate, always 1",
                kind: Kind::Gauge,
                samples: vec![Sample {
                    labels: vec![("version", version.to_owned())],
                    value: Value::Gauge(1),
                }],
            },
        ]
    }

    fn failed_calls(&self) -> Family {
        let samples = self
            .failed
            .iter()
            .map(|((call, errno, cause, port), count)| {
                let cause = cause.map_or("", Cause::name);
                Sample {
                    labels: vec![
                        ("call", (*call).to_owned()),
                        ("errno", self.errnos.name(*errno).to_owned()),
                        ("cause", cause.to_owned()),
                        ("proto", "tcp".to_owned()),
                        ("port", port.to_string()),
                    ],
                    value: Value::Counter(*count),
                }
            });
        Family {
            name: "tcpstate_failed_calls",
            help: "Calls of bind, listen and connect that failed, by the diagnosed cause",
            kind: Kind::Counter,
            samples: samples.collect(),
        }
    }

    fn restarts(&self) -> Family {
        Family {
            name: "tcpstate_restarts",
            help: "Times that somebody listened again after the last listener of a port had gone",
            kind: Kind::Counter,
            samples: by_port(&self.restarts, |count| Value::Counter(*count)),
        }
    }

    fn downtimes(&self) -> Family {
        Family {
            name: "tcpstate_restart_downtime_seconds",
            help: "Time in which nobody listened on a port, from one listener to the next",
            kind: Kind::Histogram,
            samples: by_port(&self.downtimes, |times| {
                Value::Histogram(Box::new(times.clone()))
            }),
        }
    }

    fn sockets(&mut self, engine: &Engine) -> Family {
        let mut counts: BTreeMap<(State, PortLabel), u64> =
            self.sockets.iter().map(|key| (*key, 0)).collect();
        for socket in engine.table().iter() {
            let key = (socket.state, self.ports.label(socket.local.port));
            *counts.entry(key).or_default() += 1;
        }
        self.sockets = counts.keys().copied().collect();
        let samples = counts.into_iter().map(|((state, port), count)| Sample {
            labels: vec![
                ("state", state.name().to_owned()),
                ("port", port.to_string()),
            ],
            value: Value::Gauge(count),
        });
        Family {
            name: "tcpstate_sockets",
            help: "TCP sockets by their state and local port",
            kind: Kind::Gauge,
            samples: samples.collect(),
        }
    }

    fn resets(&self) -> Family {
        let samples = self
            .resets
            .iter()
            .map(|((direction, reason, port), count)| Sample {
                labels: vec![
                    ("direction", (*direction).to_owned()),
                    ("reason", self.reasons.name(*reason).to_owned()),
                    ("port", port.to_string()),
                ],
                value: Value::Counter(*count),
            });
        Family {
            name: "tcpstate_resets",
            help: "RSTs that this host sent or handled, by the kernel's reason",
            kind: Kind::Counter,
            samples: samples.collect(),
        }
    }
}

fn name_of(kind: CallKind) -> &'static str {
    let name = match kind {
        CallKind::Bind => CallName::Bind,
        CallKind::Listen => CallName::Listen,
        CallKind::Connect => CallName::Connect,
    };
    name.name()
}

/// What was not read, or the kernel does not tell.
const UNKNOWN: &str = "unknown";

fn lost(engine: &Engine) -> Family {
    let samples = engine.losses().iter().map(|(stage, count)| Sample {
        labels: vec![("stage", (*stage).to_owned())],
        value: Value::Counter(*count),
    });
    Family {
        name: "tcpstate_events_lost",
        help: "Events that could not be seen, by where they were lost",
        kind: Kind::Counter,
        samples: samples.collect(),
    }
}

fn by_port<T>(counts: &BTreeMap<PortLabel, T>, value: impl Fn(&T) -> Value) -> Vec<Sample> {
    let samples = counts.iter().map(|(port, count)| Sample {
        labels: vec![("port", port.to_string())],
        value: value(count),
    });
    samples.collect()
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    let counted = counts.entry(key).or_default();
    *counted = counted.saturating_add(count);
}
