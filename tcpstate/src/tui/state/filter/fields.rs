//! The fields of a socket or an event that a filter tests.

use crate::event::{Body, Endpoint, Event, Process, Sock, State};
use crate::model::Socket;

/// What a test can match.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub(crate) endpoints: [Option<Endpoint>; 3],
    pub(crate) states: [Option<State>; 2],
    pub(crate) processes: [Option<&'a Process>; 2],
    pub(crate) texts: [&'a str; 2],
    pub(crate) netns: Option<u32>,
    pub(crate) cause: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) fn of_socket(socket: &'a Socket) -> Self {
        Self {
            endpoints: [Some(socket.local), Some(socket.peer), None],
            states: [Some(socket.state), None],
            processes: [socket.owner.as_deref(), socket.left_by.as_deref()],
            netns: Some(socket.sock.netns),
            ..Self::default()
        }
    }

    pub(crate) fn of_event(event: &'a Event) -> Self {
        Self {
            netns: netns_of(&event.body),
            ..subject_of(event)
        }
    }
}

fn netns_of(body: &Body) -> Option<u32> {
    let of = |sock: &Sock| Some(sock.netns);
    match body {
        Body::TimeWaitEnter(entered) => of(&entered.sock),
        Body::TimeWaitExit(exited) => of(&exited.sock),
        Body::Restart(restart) => Some(restart.netns),
        Body::Fallback(fallback) => Some(fallback.netns),
        Body::Diagnosis(diagnosis) => diagnosis.holders.first().and_then(|held| of(&held.sock)),
        body => body.netns(),
    }
}

fn subject_of(event: &Event) -> Fields<'_> {
    let mut fields = Fields {
        texts: [event.body.name(), ""],
        ..Fields::default()
    };
    match &event.body {
        Body::Socket(seen) => {
            fields.endpoints = [Some(seen.local), Some(seen.peer), None];
            fields.states = [Some(seen.state), None];
            fields.processes = [seen.process.as_deref(), None];
        }
        Body::State(change) => {
            fields.endpoints = [Some(change.local), Some(change.peer), None];
            fields.states = [Some(change.new), Some(change.old)];
            fields.processes = [change.process.as_deref(), None];
        }
        Body::TimeWaitEnter(entered) => {
            fields.endpoints = [Some(entered.local), Some(entered.peer), None];
            fields.states = [Some(State::TimeWait), None];
            fields.processes = [entered.left_by.as_deref(), None];
        }
        Body::TimeWaitExit(exited) => {
            fields.endpoints = [Some(exited.local), Some(exited.peer), None];
            fields.states = [Some(State::TimeWait), None];
        }
        Body::Reset(reset) => {
            fields.endpoints = [Some(reset.local), Some(reset.peer), None];
            fields.states = [reset.state, None];
            fields.processes = [reset.process.as_deref(), None];
            fields.texts[1] = reset.reason.as_deref().unwrap_or_default();
        }
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) | Body::Accept(call) => {
            let requested = call.requested.addr.map(|addr| Endpoint {
                addr,
                port: call.requested.port,
            });
            let unspecified = Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port: call.requested.port,
            };
            fields.endpoints = [call.local, call.peer, requested.or(Some(unspecified))];
            fields.processes = [Some(&call.process), None];
            fields.texts[1] = call.errno_name.as_deref().unwrap_or_default();
        }
        Body::Diagnosis(diagnosis) => {
            let first = diagnosis.holders.first();
            fields.endpoints = [first.map(|holder| holder.local), None, None];
            fields.states = [first.map(|holder| holder.state), None];
            fields.processes = [
                first.and_then(|holder| holder.process.as_deref()),
                first.and_then(|holder| holder.left_by.as_deref()),
            ];
            fields.texts[1] = &diagnosis.summary;
            fields.cause = diagnosis.cause.name();
        }
        Body::Restart(restart) => {
            fields.endpoints[0] = Some(Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port: restart.port,
            });
            fields.processes = [
                restart.old_process.as_deref(),
                restart.new_process.as_deref(),
            ];
        }
        Body::Fallback(fallback) => {
            let first = fallback.failed.first().map(|tried| tried.port);
            let at = |port| Endpoint {
                addr: std::net::Ipv4Addr::UNSPECIFIED.into(),
                port,
            };
            fields.endpoints = [first.map(at), Some(at(fallback.took)), None];
            fields.processes[0] = Some(&fallback.process);
        }
        Body::Holders(late) => {
            let first = late.seen.holders.first();
            fields.endpoints[0] = first.map(|holder| holder.local);
            fields.states[0] = first.map(|holder| holder.state);
        }
        Body::Flood(flood) => fields.texts[1] = &flood.comm,
        Body::Header(_) | Body::Loss(_) | Body::Tick(_) | Body::Footer(_) => {}
    }
    fields
}
