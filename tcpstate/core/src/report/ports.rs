//! The ports' histories: who listened when, failed calls, TIME_WAIT, restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::head_tail::HeadTail;
use super::{Clock, Mark, PortSpan, PortTimeline, Restart, Service, TimeWaitSpan, trim};
use crate::event::{Body, Endpoint, Sock};
use crate::event::{Event, Process, Restart as RestartEvent, State};
use crate::model::{NS_PER_MS, Phase, PortKey, Ports, Tuple};

/// Ports that are followed.
const MAX_LANES: usize = 1024;
/// Ports that the report shows.
pub(super) const MAX_PORTS: usize = 64;
/// Stretches of one kind that one port keeps, half of them at each end.
const MAX_SPANS: usize = 256;
/// Restarts that the report lists, half of them at each end.
pub(super) const MAX_RESTARTS: usize = 256;
/// Sockets in TIME_WAIT that are counted by port; as many as the engine holds.
const MAX_TIME_WAIT: usize = 1 << 20;
/// All ports are checked this often: a listener may be confirmed by its age.
const SERVICE_CHECK_NS: u64 = 1_000_000_000;

#[derive(Debug)]
struct ServiceSpan {
    from_ns: u64,
    service: Service,
    process: Option<Arc<Process>>,
}

#[derive(Debug)]
struct Lane {
    service_spans: HeadTail<ServiceSpan>,
    failed: HeadTail<(u64, u64)>,
    failed_total: u64,
    time_wait: HeadTail<(u64, u64, u64)>,
    restarts: u64,
}

impl Lane {
    fn new() -> Self {
        Self {
            service_spans: HeadTail::new(MAX_SPANS / 2),
            failed: HeadTail::new(MAX_SPANS / 2),
            failed_total: 0,
            time_wait: HeadTail::new(MAX_SPANS / 2),
            restarts: 0,
        }
    }
}

/// A port that sockets in TIME_WAIT hold now.
#[derive(Debug)]
struct HeldSpan {
    since_ns: u64,
    count: u64,
    most: u64,
}

/// A restart, or a port that stayed down.
#[derive(Debug)]
struct Outage {
    event: RestartEvent,
    closed_ns: u64,
    again_ns: Option<u64>,
    time_wait: u64,
}

/// The ports' histories.
#[derive(Debug)]
pub(super) struct PortTracks {
    lanes: BTreeMap<PortKey, Lane>,
    lanes_left_out: u64,
    in_time_wait: BTreeSet<Tuple>,
    held: BTreeMap<PortKey, HeldSpan>,
    outages: HeadTail<Outage>,
    next_check_ns: u64,
}

impl PortTracks {
    pub(super) fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            lanes_left_out: 0,
            in_time_wait: BTreeSet::new(),
            held: BTreeMap::new(),
            outages: HeadTail::new(MAX_RESTARTS / 2),
            next_check_ns: 0,
        }
    }

    /// Takes in one event; the engine has taken it in already.
    pub(super) fn note(&mut self, event: &Event, ports: &Ports) {
        let at_ns = event.mono_ns;
        match &event.body {
            Body::Socket(seen) => {
                self.update_service(key(&seen.sock, seen.local), ports);
                let tuple = tuple(&seen.sock, seen.local, seen.peer);
                if seen.state == State::TimeWait {
                    self.enter_time_wait(at_ns, tuple, key(&seen.sock, seen.local));
                } else {
                    self.leave_time_wait(at_ns, tuple, key(&seen.sock, seen.local));
                }
            }
            Body::State(change) => self.update_service(key(&change.sock, change.local), ports),
            Body::TimeWaitEnter(entered) => self.enter_time_wait(
                at_ns,
                tuple(&entered.sock, entered.local, entered.peer),
                key(&entered.sock, entered.local),
            ),
            Body::TimeWaitExit(exited) => self.leave_time_wait(
                at_ns,
                tuple(&exited.sock, exited.local, exited.peer),
                key(&exited.sock, exited.local),
            ),
            Body::Listen(call) | Body::Bind(call) => {
                if let (Some(sock), Some(local)) = (&call.sock, call.local) {
                    self.update_service(key(sock, local), ports);
                }
            }
            Body::Restart(restart) => self.restarted(at_ns, restart, ports),
            _ => {}
        }
        if at_ns >= self.next_check_ns {
            self.next_check_ns = at_ns.saturating_add(SERVICE_CHECK_NS);
            for (key, _) in ports.iter() {
                self.update_service(*key, ports);
            }
        }
    }

    /// A call for this port failed, so many times.
    pub(super) fn failed(&mut self, key: PortKey, at_ns: u64, seq: u64, count: u64) {
        if let Some(lane) = self.lane(key) {
            lane.failed.push((at_ns, seq));
            lane.failed_total = lane.failed_total.saturating_add(count);
        }
    }

    fn lane(&mut self, key: PortKey) -> Option<&mut Lane> {
        if self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(&key) {
            self.lanes_left_out += 1;
            return None;
        }
        Some(self.lanes.entry(key).or_insert_with(Lane::new))
    }

    /// Notes whether somebody listens, if that has changed.
    fn update_service(&mut self, key: PortKey, ports: &Ports) {
        let (from_ns, service, process) = match ports.get(&key).map(|history| &history.phase) {
            None | Some(Phase::NeverListened) => return,
            Some(Phase::Listening {
                since_ns, process, ..
            }) => (*since_ns, Service::Listening, process),
            Some(Phase::Down {
                since_ns,
                old_process,
                ..
            }) => (*since_ns, Service::Down, old_process),
        };
        let Some(lane) = self.lane(key) else { return };
        let is_known = lane
            .service_spans
            .last()
            .is_some_and(|last| last.service == service && last.from_ns == from_ns);
        if !is_known {
            lane.service_spans.push(ServiceSpan {
                from_ns,
                service,
                process: process.as_ref().map(trim::process),
            });
        }
    }

    fn enter_time_wait(&mut self, at_ns: u64, tuple: Tuple, key: PortKey) {
        if self.in_time_wait.len() >= MAX_TIME_WAIT || !self.in_time_wait.insert(tuple) {
            return;
        }
        let held = self.held.entry(key).or_insert(HeldSpan {
            since_ns: at_ns,
            count: 0,
            most: 0,
        });
        held.count += 1;
        held.most = held.most.max(held.count);
    }

    fn leave_time_wait(&mut self, at_ns: u64, tuple: Tuple, key: PortKey) {
        if !self.in_time_wait.remove(&tuple) {
            return;
        }
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        held.count = held.count.saturating_sub(1);
        if held.count > 0 {
            return;
        }
        let span = (held.since_ns, at_ns, held.most);
        self.held.remove(&key);
        // A port that nobody listens on and no call failed for has no lane:
        // the clients' ends are many.
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.time_wait.push(span);
        }
    }

    fn restarted(&mut self, at_ns: u64, restart: &RestartEvent, ports: &Ports) {
        let key = PortKey {
            port: restart.port,
            netns: restart.netns,
        };
        let again_ns = match ports.get(&key).map(|history| &history.phase) {
            Some(Phase::Listening { since_ns, .. }) => *since_ns,
            _ => at_ns,
        };
        // The engine is ahead of the event: the new listener may be noted already.
        let closed_ns = self
            .lanes
            .get(&key)
            .and_then(|lane| {
                lane.service_spans
                    .iter()
                    .filter(|service_span| service_span.service == Service::Down)
                    .last()
            })
            .map_or_else(
                || again_ns.saturating_sub(restart.downtime_ms.saturating_mul(NS_PER_MS)),
                |down| down.from_ns,
            );
        self.outages.push(Outage {
            event: trimmed(restart),
            closed_ns,
            again_ns: Some(again_ns),
            time_wait: self.held.get(&key).map_or(0, |held| held.count),
        });
        self.update_service(key, ports);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.restarts += 1;
        }
    }

    /// Ports that are followed no further, and restarts that are not listed.
    pub(super) fn left_out(&self) -> (u64, u64) {
        (
            self.lanes_left_out + self.lanes.len().saturating_sub(MAX_PORTS) as u64,
            self.outages.left_out(),
        )
    }

    /// Ports with a failed call or a restart.
    pub(super) fn troubled(&self) -> BTreeSet<PortKey> {
        self.lanes
            .iter()
            .filter(|(_, lane)| lane.failed_total > 0 || lane.restarts > 0)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Restarts and ports that stayed down, oldest first, and the ports.
    pub(super) fn finish(
        mut self,
        clock: Clock,
        end_ns: u64,
        ports: &Ports,
    ) -> (Vec<Restart>, Vec<PortTimeline>) {
        for (key, history) in ports.iter() {
            self.update_service(*key, ports);
            if let Phase::Down {
                since_ns,
                closed_seq,
                old_process,
            } = &history.phase
            {
                self.outages.push(Outage {
                    event: RestartEvent {
                        port: key.port,
                        netns: key.netns,
                        listen_closed_seq: *closed_seq,
                        listen_again_seq: 0,
                        downtime_ms: end_ns.saturating_sub(*since_ns) / NS_PER_MS,
                        failed_binds: history.failed_since_down,
                        old_process: old_process.as_ref().map(trim::process),
                        new_process: None,
                    },
                    closed_ns: *since_ns,
                    again_ns: None,
                    time_wait: self.held.get(key).map_or(0, |held| held.count),
                });
            }
        }
        for (key, held) in std::mem::take(&mut self.held) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.time_wait.push((held.since_ns, end_ns, held.most));
            }
        }
        let mut restarts: Vec<Restart> = self
            .outages
            .into_vec()
            .into_iter()
            .map(|fall| restart(fall, clock))
            .collect();
        restarts.sort_by_key(|restart| restart.closed_seq);
        // Ports in trouble first; of the others those with the longest history.
        let mut lanes: Vec<(PortKey, Lane)> = self.lanes.into_iter().collect();
        lanes.sort_by_key(|(key, lane)| {
            (
                std::cmp::Reverse(lane.failed_total.saturating_add(lane.restarts)),
                *key,
            )
        });
        lanes.truncate(MAX_PORTS);
        let lanes = lanes
            .into_iter()
            .map(|(key, lane)| timeline(key, lane, clock, end_ns))
            .collect();
        (restarts, lanes)
    }
}

fn timeline(key: PortKey, lane: Lane, clock: Clock, end_ns: u64) -> PortTimeline {
    let is_shortened =
        lane.service_spans.left_out() + lane.failed.left_out() + lane.time_wait.left_out() > 0;
    let service_spans = lane.service_spans.into_vec();
    let mut spans = Vec::with_capacity(service_spans.len() + 1);
    let first_ns = service_spans.first().map_or(end_ns, |first| first.from_ns);
    if first_ns > clock.start_ns {
        spans.push(PortSpan {
            from: clock.at(clock.start_ns),
            to: clock.at(first_ns),
            service: Service::NotSeen,
            process: None,
        });
    }
    for (at, service_span) in service_spans.iter().enumerate() {
        let to_ns = service_spans
            .get(at + 1)
            .map_or(end_ns, |next| next.from_ns);
        spans.push(PortSpan {
            from: clock.at(service_span.from_ns),
            to: clock.at(to_ns.max(service_span.from_ns)),
            service: service_span.service,
            process: service_span.process.clone(),
        });
    }
    PortTimeline {
        port: key.port,
        netns: key.netns,
        spans,
        failed_calls: lane
            .failed
            .iter()
            .map(|(at_ns, seq)| Mark {
                seq: *seq,
                at: clock.at(*at_ns),
            })
            .collect(),
        failed_total: lane.failed_total,
        time_wait: lane
            .time_wait
            .iter()
            .map(|(from_ns, to_ns, most)| TimeWaitSpan {
                from: clock.at(*from_ns),
                to: clock.at(*to_ns),
                most: *most,
            })
            .collect(),
        is_shortened,
    }
}

fn restart(fall: Outage, clock: Clock) -> Restart {
    Restart {
        port: fall.event.port,
        netns: fall.event.netns,
        closed: clock.at(fall.closed_ns),
        closed_seq: fall.event.listen_closed_seq,
        again: fall.again_ns.map(|at_ns| clock.at(at_ns)),
        again_seq: fall.again_ns.map(|_| fall.event.listen_again_seq),
        downtime_ms: fall.event.downtime_ms,
        failed_binds: fall.event.failed_binds,
        failures: Vec::new(),
        time_wait: fall.time_wait,
        old_process: fall.event.old_process,
        new_process: fall.event.new_process,
    }
}

fn trimmed(restart: &RestartEvent) -> RestartEvent {
    RestartEvent {
        old_process: restart.old_process.as_ref().map(trim::process),
        new_process: restart.new_process.as_ref().map(trim::process),
        ..restart.clone()
    }
}

fn key(sock: &Sock, local: Endpoint) -> PortKey {
    PortKey {
        port: local.port,
        netns: sock.netns,
    }
}

/// There is one TIME_WAIT at a time with these addresses, and it may get its cookie late.
fn tuple(sock: &Sock, local: Endpoint, peer: Endpoint) -> Tuple {
    Tuple {
        netns: sock.netns,
        local,
        peer,
    }
}
