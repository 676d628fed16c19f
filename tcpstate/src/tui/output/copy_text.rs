//! What is copied and exported of what is chosen: its text and its events.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::event::{Body, Endpoint, Event, Sock, State};
use crate::export::describe::Context;
use crate::export::{json, text};
use crate::model::{Phase, PortKey, Socket, SocketId, Tuple};
use crate::printable::printable;
use crate::tui::state::panel::Subject;
use crate::tui::state::problems::is_left_over;
use crate::tui::state::view::View;
use crate::units;

/// Positions of the kept events that belong to it, in order.
pub(crate) fn events(view: &View<'_>, subject: Subject) -> Vec<u64> {
    let mut seqs = BTreeSet::new();
    match subject {
        Subject::Event(seq) => {
            seqs.insert(seq);
        }
        Subject::Port(key) => seqs.extend(about(view, |body| is_about_port(body, key))),
        Subject::Socket(id) => {
            let socket = view.socket(&id);
            seqs.extend(about(view, |body| is_about_socket(body, &id, socket)));
            // Who opened it, by which call: also where the call names no socket.
            seqs.extend(socket.map(Socket::evidence).unwrap_or_default());
        }
        Subject::Failure(seq) => {
            seqs.insert(seq);
            seqs.extend(about(
                view,
                |body| matches!(body, Body::Diagnosis(diagnosis) if diagnosis.of == seq),
            ));
            let holders = view
                .failure(seq)
                .map_or(&[][..], |failure| &failure.diagnosis.holders);
            for held in holders {
                seqs.extend(&held.evidence);
                let id = SocketId::of(&held.sock, held.local, held.peer);
                let socket = view.socket(&id);
                seqs.extend(about(view, |body| is_about_socket(body, &id, socket)));
            }
        }
    }
    seqs.retain(|seq| view.event(*seq).is_some());
    seqs.into_iter().collect()
}

/// Events as JSON lines, after a header that says what wrote them.
pub(crate) fn json_lines(view: &View<'_>, seqs: &[u64]) -> serde_json::Result<Vec<u8>> {
    let clock = view.anchor().copied().unwrap_or_default();
    let mut lines = Vec::new();
    if let Some(header) = view.header() {
        let header = Event {
            seq: 0,
            mono_ns: header.clock.mono_ns,
            body: Body::Header(Box::new(header.clone())),
        };
        json::write_line(&header, clock, &mut lines)?;
    }
    for event in seqs.iter().filter_map(|seq| view.event(*seq)) {
        if !matches!(event.body, Body::Header(_)) {
            json::write_line(event, clock, &mut lines)?;
        }
    }
    Ok(lines)
}

/// The text of it, for a chat or a ticket; `None`: it is not kept any more. No
/// line of it can steer a terminal.
pub(crate) fn describe(view: &View<'_>, subject: Subject) -> Option<String> {
    match subject {
        Subject::Port(key) => Some(port(view, key)),
        Subject::Socket(id) => view.socket(&id).map(|of| socket(view, of)),
        Subject::Event(seq) => view.event(seq).map(|event| event_text(view, event)),
        Subject::Failure(seq) => {
            let failure = view.failure(seq)?;
            let mut text = view
                .event(seq)
                .map_or_else(String::new, |of| event_text(view, of));
            let diagnosis = Event {
                seq,
                mono_ns: failure.mono_ns,
                body: Body::Diagnosis(Box::new((*failure.diagnosis).clone())),
            };
            if !text.is_empty() {
                text.push('\n');
            }
            text += &event_text(view, &diagnosis);
            Some(text)
        }
    }
}

/// What a file about it is called, without its time.
pub(crate) fn stem(view: &View<'_>, subject: Subject) -> String {
    match subject {
        Subject::Port(key) => format!("port-{}", key.port),
        Subject::Event(seq) => format!("event-{seq}"),
        Subject::Failure(seq) => format!("failure-{seq}"),
        Subject::Socket(id) => match view.socket(&id) {
            Some(socket) => format!("socket-{}-{}", socket.local.port, socket.peer.port),
            None => "socket".to_owned(),
        },
    }
}

fn about(view: &View<'_>, is_about: impl Fn(&Body) -> bool) -> Vec<u64> {
    view.log
        .iter()
        .filter(|event| is_about(&event.body))
        .map(|event| event.seq)
        .collect()
}

/// Sockets and addresses that an event is about.
struct SocketIdentity {
    sock: Option<Sock>,
    local: Option<Endpoint>,
    peer: Option<Endpoint>,
}

fn identity(body: &Body) -> SocketIdentity {
    let of = |sock: Option<Sock>, local, peer| SocketIdentity { sock, local, peer };
    match body {
        Body::Socket(seen) => of(Some(seen.sock), Some(seen.local), Some(seen.peer)),
        Body::State(change) => of(Some(change.sock), Some(change.local), Some(change.peer)),
        Body::TimeWaitEnter(enter) => of(Some(enter.sock), Some(enter.local), Some(enter.peer)),
        Body::TimeWaitExit(exit) => of(Some(exit.sock), Some(exit.local), Some(exit.peer)),
        Body::Reset(reset) => of(reset.sock, Some(reset.local), Some(reset.peer)),
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) | Body::Accept(call) => {
            of(call.sock, call.local, call.peer)
        }
        _ => of(None, None, None),
    }
}

fn is_about_socket(body: &Body, id: &SocketId, socket: Option<&Socket>) -> bool {
    let identity = identity(body);
    if let (SocketId::Cookie(cookie), Some(sock)) = (id, identity.sock)
        && sock.cookie == *cookie
    {
        return true;
    }
    // A listener's address is that of many; a connection's pair is its own.
    let tuple = match id {
        SocketId::Tuple(tuple) | SocketId::PastLife(tuple) => Some(*tuple),
        SocketId::Cookie(_) => socket.map(Socket::tuple),
    };
    tuple
        .filter(|tuple| tuple.peer.port != 0)
        .is_some_and(|tuple: Tuple| {
            identity.local == Some(tuple.local)
                && identity.peer == Some(tuple.peer)
                && identity.sock.is_none_or(|sock| sock.netns == tuple.netns)
        })
}

fn is_about_port(body: &Body, key: PortKey) -> bool {
    let is_here = |netns: u32| netns == key.netns || key.netns == 0 || netns == 0;
    match body {
        Body::Restart(restart) => restart.port == key.port && is_here(restart.netns),
        Body::Fallback(fallback) => {
            let tried = fallback.failed.iter().any(|tried| tried.port == key.port);
            (fallback.took == key.port || tried) && is_here(fallback.netns)
        }
        Body::Diagnosis(diagnosis) => diagnosis
            .holders
            .iter()
            .any(|held| held.local.port == key.port && is_here(held.sock.netns)),
        body => {
            let identity = identity(body);
            let port = match (identity.local, body.call()) {
                (Some(local), _) if local.port != 0 => local.port,
                (_, Some(call)) => call.requested.port,
                _ => return false,
            };
            port == key.port && identity.sock.is_none_or(|sock| is_here(sock.netns))
        }
    }
}

fn event_text(view: &View<'_>, event: &Event) -> String {
    let of = match &event.body {
        Body::Diagnosis(diagnosis) => view.failure(diagnosis.of),
        _ => None,
    };
    let context = Context {
        failed: of.map(|failure| &*failure.call),
        ..view.header().map(Context::of).unwrap_or_default()
    };
    let mut text = String::new();
    text::write_event(event, &context, &mut text);
    text.trim_end().to_owned()
}

fn socket(view: &View<'_>, socket: &Socket) -> String {
    let mut text = format!("{} {}", socket.state.name().to_uppercase(), socket.local);
    if socket.peer.port != 0 {
        let _ = write!(text, " <-> {}", socket.peer);
    }
    match (&socket.left_by, &socket.owner) {
        (Some(process), _) => {
            let _ = write!(text, " left by {process}");
        }
        (None, Some(process)) if socket.is_mini => {
            let _ = write!(text, " once {process}");
        }
        (None, Some(process)) => {
            let _ = write!(text, " {process}");
        }
        (None, None) => {}
    }
    let age = view.now_ns.saturating_sub(socket.since_ns);
    let _ = write!(text, ", for {}", units::age(age));
    let timer = socket.remaining_ns(view.now_ns);
    if let Some(left_ns) = timer.filter(|_| socket.state != State::Closed) {
        let _ = write!(text, ", {} left", units::left(left_ns));
    }
    let _ = write!(text, ", netns {}", socket.sock.netns);
    printable(&text).into_owned()
}

fn port(view: &View<'_>, key: PortKey) -> String {
    let mut text = format!("port {}", key.port);
    let Some(scenario) = view.ports.get(&key) else {
        return text;
    };
    let for_ns = |since_ns: u64| units::age(view.now_ns.saturating_sub(since_ns));
    // Writing to a String cannot fail.
    let _ = match &scenario.phase {
        Phase::NeverListened => write!(text, " NOT LISTENING"),
        Phase::Listening {
            since_ns, process, ..
        } => {
            let by = process.as_ref().map(|by| format!(" by {by}"));
            let by = by.unwrap_or_default();
            let word = if is_left_over(view, key, *since_ns) {
                "LEFT OPEN"
            } else {
                "LISTENING"
            };
            write!(text, " {word}{by} for {}", for_ns(*since_ns))
        }
        Phase::Down {
            since_ns,
            old_process,
            ..
        } => {
            let was = old_process.as_ref().map(|was| format!(", was {was}"));
            let was = was.unwrap_or_default();
            write!(text, " DOWN for {}{was}", for_ns(*since_ns))
        }
    };
    if scenario.failed_total > 0 {
        let _ = write!(text, ", {} failed calls", scenario.failed_total);
    }
    if key.netns != 0 {
        let _ = write!(text, ", netns {}", key.netns);
    }
    printable(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::screens::scenario::{self, PORT, Scenario, process};

    fn names(view: &View<'_>, seqs: &[u64]) -> Vec<&'static str> {
        seqs.iter()
            .filter_map(|seq| view.event(*seq))
            .map(|event| event.body.name())
            .collect()
    }

    #[test]
    fn a_failure_takes_its_call_its_diagnosis_and_its_holders_along() {
        let scenario = scenario::down();
        let view = View::live(&scenario.engine, scenario.now_ns);
        let seq = view.failures.last().expect("a bind fails").seq;

        let seqs = events(&view, Subject::Failure(seq));
        let names = names(&view, &seqs);

        assert!(seqs.is_sorted() && seqs.contains(&seq));
        assert_eq!(names.iter().filter(|name| **name == "bind").count(), 1);
        assert_eq!(names.iter().filter(|name| **name == "diagnosis").count(), 1);
        let lines = json_lines(&view, &seqs).expect("events are JSON");
        let lines = String::from_utf8(lines).expect("JSON is text");
        assert_eq!(lines.lines().count(), seqs.len() + 1);
        assert!(lines.starts_with("{\"event\":\"header\""), "{lines}");
    }

    #[test]
    fn a_socket_takes_only_its_own_events_along() {
        let mut scenario = Scenario::begun();
        let nginx = process("nginx", 4711);
        let listener = scenario.listen(PORT, &nginx);
        let one = scenario.accept(listener, PORT, 40_001);
        scenario.accept(listener, PORT, 40_002);
        scenario.close_first(one, PORT, 40_001, &nginx);
        let view = View::live(&scenario.engine, scenario.now_ns);
        let of = |peer_port| {
            let socket = view.table.iter().find(|of| of.peer.port == peer_port);
            events(&view, Subject::Socket(socket.expect("it is there").id()))
        };

        for (peer_port, others) in [(40_001, 40_002), (40_002, 40_001)] {
            let seqs = of(peer_port);
            let lines = json_lines(&view, &seqs).expect("events are JSON");
            let lines = String::from_utf8(lines).expect("JSON is text");
            assert!(seqs.len() >= 2, "{lines}");
            assert!(lines.contains(&format!("\"port\":{peer_port}")), "{lines}");
            assert!(!lines.contains(&format!("\"port\":{others}")), "{lines}");
        }
    }

    #[test]
    fn a_listener_takes_no_events_of_the_one_before_it_along() {
        let mut scenario = Scenario::begun();
        let nginx = process("nginx", 4711);
        let first = scenario.listen(PORT, &nginx);
        scenario.stop_listening(first, PORT, &nginx);
        scenario.listen(PORT, &process("nginx", 4900));
        let view = View::live(&scenario.engine, scenario.now_ns);
        let listener = view.table.iter().find(|of| of.state == State::Listen);
        let id = listener.expect("somebody listens").id();

        let seqs = events(&view, Subject::Socket(id));
        let lines = json_lines(&view, &seqs).expect("events are JSON");
        let lines = String::from_utf8(lines).expect("JSON is text");

        assert!(lines.contains("\"pid\":4900"), "{lines}");
        assert!(!lines.contains("\"pid\":4711"), "{lines}");
    }

    #[test]
    fn everything_chosen_has_a_text_that_cannot_steer_a_terminal() {
        let mut scenario = Scenario::begun();
        let evil = process("\x1b[2J\nx\u{202e}", 1);
        let listener = scenario.listen(PORT, &evil);
        let sock = scenario.accept(listener, PORT, 40_001);
        scenario.close_first(sock, PORT, 40_001, &evil);
        let held = scenario.held_by_time_wait(PORT);
        scenario.bind_fails(PORT, &evil, held);
        let view = View::live(&scenario.engine, scenario.now_ns);
        let mut subjects: Vec<Subject> = view
            .table
            .iter()
            .map(|of| Subject::Socket(of.id()))
            .collect();
        subjects.extend(view.ports.iter().map(|(key, _)| Subject::Port(*key)));
        subjects.extend(
            view.log
                .iter()
                .skip(1)
                .map(|event| Subject::Event(event.seq)),
        );
        subjects.extend(
            view.failures
                .iter()
                .map(|failure| Subject::Failure(failure.seq)),
        );

        for subject in subjects {
            let text = describe(&view, subject).expect("it is kept");
            for line in text.lines() {
                assert_eq!(printable(line), line, "{subject:?}");
            }
        }
    }
}
