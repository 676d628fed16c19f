//! The thread: takes one job after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::super::github;
use super::super::progress::{self, HeldBind, Progress};
use super::{FailureSink, Job, Observation, probe};
use crate::clock;
use crate::commands::explain::PortHolders;
use crate::commands::header;
use crate::diagnosis::CallKind;
use crate::engine::Limits;
use crate::event::{
    Body, Call, Capture, Diagnosis, Endpoint, Flood, Header, SocketSeen, Source, State,
};
use crate::export::describe::{self, Context};
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{Outputs, Pipeline, Selector};
use crate::recording::writer::Writer;
use crate::snapshot::netns::Namespaces;
use crate::snapshot::sysctl;

/// How often the progress of what waits is shown.
const REDRAW: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    pipeline: Pipeline,
    pub(super) header: Header,
    pub(super) namespaces: Namespaces,
    /// Of the last port that was read, and in which namespace.
    pub(super) holders: Option<((u32, u16), PortHolders)>,
    progress: Progress,
    sink: FailureSink,
}

impl Worker {
    pub(super) fn new(recording: Option<Writer>, sink: FailureSink) -> Self {
        let header = header::of(vec![probe()], Capture::Tracepoints, sysctl::read());
        let outputs = Outputs::new(Stdout::None, recording);
        let mut worker = Self {
            pipeline: Pipeline::new(Limits::default(), Selector::default(), outputs),
            header: header.clone(),
            namespaces: Namespaces::default(),
            holders: None,
            progress: Progress::new(),
            sink,
        };
        let mono_ns = header.clock.mono_ns;
        worker.feed(mono_ns, Body::Header(Box::new(header)));
        worker
    }

    pub(super) fn work(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(REDRAW) {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => self.progress.redraw(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.progress.clear();
        let finished = self.pipeline.finish(clock::monotonic_ns(), "command");
        if let Err(error) = finished {
            progress::print(&error.to_string());
        }
        self.report_recording_error();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Call {
                mono_ns,
                kind,
                mut call,
                answer,
            } => {
                if call.is_sum {
                    let like = self.pipeline.engine().failure_like(kind, &call);
                    if let Some(like) = like {
                        call.process = Arc::clone(&like.call.process);
                    }
                } else if !call.ok {
                    self.complete(kind, &mut call);
                }
                let listener = self.opened(kind, &call);
                self.feed(mono_ns, body(kind, call));
                if let Some(listener) = listener {
                    self.feed(mono_ns, Body::Socket(listener));
                }
                self.report(kind);
                drop(answer);
            }
            Job::WaitBegins { id, call, until_ns } => {
                let question = self.ask(&call);
                self.progress.begin(HeldBind::new(
                    id,
                    &call,
                    question.as_ref(),
                    until_ns,
                    clock::monotonic_ns(),
                ));
            }
            Job::WaitEnds { id, is_bound } => self.progress.end(id, is_bound),
            Job::Flood {
                call,
                process,
                count,
            } => {
                let flood = Flood {
                    call,
                    uid: process.uid,
                    pid: process.pid,
                    comm: process.comm.to_string(),
                    count,
                };
                let name = flood.call.name();
                self.print(&format!(
                    "{count} more calls of {name} failed than could be explained"
                ));
                self.feed(clock::monotonic_ns(), Body::Flood(flood));
            }
            Job::Print(line) => self.print(&line),
        }
    }

    /// A listener, for whom it matters later who has opened it: no hook reports that here.
    fn opened(&self, kind: CallKind, call: &Call) -> Option<SocketSeen> {
        let is_wanted = matches!(self.sink, FailureSink::Channel(_));
        if kind != CallKind::Listen || !call.ok || !is_wanted {
            return None;
        }
        let local = call.local?;
        Some(SocketSeen {
            sock: call.sock?,
            local,
            peer: Endpoint {
                addr: match local.addr {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                },
                port: 0,
            },
            state: State::Listen,
            process: Some(Arc::clone(&call.process)),
            processes: None,
            reuse: Some(call.reuse),
            expires_ms: None,
            netns_ended: None,
            ended: None,
            source: Source::Snapshot,
        })
    }

    fn print(&mut self, line: &str) {
        if matches!(self.sink, FailureSink::Channel(_)) {
            return;
        }
        self.progress.clear();
        progress::print(line);
    }

    fn feed(&mut self, mono_ns: u64, body: Body) {
        if let FailureSink::Channel(channel) = &self.sink {
            // Nobody waits for it any more where that fails.
            let _ = channel.send(Observation::Fact(mono_ns, Box::new(body.clone())));
        }
        let fed = self.pipeline.feed(mono_ns, body);
        if let Err(error) = fed.and_then(|()| self.pipeline.write_out()) {
            self.print(&error.to_string());
        }
        self.report_recording_error();
    }

    fn report_recording_error(&mut self) {
        if let Some(error) = self.pipeline.outputs_mut().take_recording_error() {
            self.print(&error.to_string());
        }
    }

    /// Reports the failed call that has just been taken in, and why.
    fn report(&mut self, kind: CallKind) {
        let name = if kind == CallKind::Bind {
            "bind"
        } else {
            "listen"
        };
        let log = self.pipeline.engine().log();
        let mut text = String::new();
        let mut diagnosed: Option<Diagnosis> = None;
        let mut latest: Vec<_> = log.iter().rev().take(4).collect();
        latest.reverse();
        let Some(at) = latest
            .iter()
            .rposition(|event| event.body.name() == name)
            .filter(|at| {
                latest
                    .get(*at)
                    .and_then(|event| event.body.call())
                    .is_some_and(|call| !call.ok)
            })
        else {
            return;
        };
        for event in latest.into_iter().skip(at) {
            let failed = match &event.body {
                Body::Diagnosis(diagnosis) => {
                    diagnosed = Some((**diagnosis).clone());
                    log.get(diagnosis.of).and_then(|call| call.body.call())
                }
                body if body.name() == name => None,
                _ => continue,
            };
            let context = Context {
                failed,
                ..Context::of(&self.header)
            };
            if let Some(line) = describe::text(event, &context) {
                text.push_str("tcpstate: ");
                text.push_str(&line);
                text.push('\n');
            }
        }
        if let FailureSink::Channel(channel) = &self.sink {
            if let Some(diagnosis) = diagnosed {
                // Nobody waits for it any more where that fails.
                let _ = channel.send(Observation::Diagnosis(Box::new(diagnosis)));
            }
            return;
        }
        self.progress.clear();
        progress::write(&text);
        if let Some(diagnosis) = diagnosed {
            github::annotate(&diagnosis);
        }
    }
}

fn body(kind: CallKind, call: Box<Call>) -> Body {
    match kind {
        CallKind::Bind => Body::Bind(call),
        CallKind::Listen => Body::Listen(call),
        CallKind::Connect => Body::Connect(call),
    }
}
