//! A socket's life from top to bottom: when, which state, and between two lines,
//! this side's and the peer's, the segments that made it so.

use crate::event::{Body, Direction, State};
use crate::model::{Socket, SocketId, Step};
use crate::tui::draw::detail::segments::{ClosedFirst, Segment, closed_first, missing, passed};
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::screen::Span;
use crate::tui::state::panel::Subject;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::tui::units;

/// Room for `11:06:53.866`.
const TIME: usize = 13;
/// Room for `SYN_RECEIVED` and its mark.
const STATE: usize = 15;
/// Cells between the two lines.
const BETWEEN: usize = 15;
/// Events that are searched for a reset of the socket.
const MAX_SEARCHED: usize = 4_096;

/// The life of a socket; one of its events may be pointed at.
pub(crate) fn draw(text: &mut Page, view: &View<'_>, socket: &Socket, pointed: Option<u64>) {
    text.heading("life");
    let mut life = Life {
        text,
        view,
        has_peer: socket.peer.port != 0,
    };
    if life.has_peer {
        life.row("", ("", Tone::Text), &ends(), &[]);
    }
    if socket.is_from_snapshot {
        let note = ("what was before was not seen".to_owned(), Tone::Dim);
        life.row("", ("", Tone::Text), &life.lines('┊'), &[note]);
    }
    let mut before: Option<(u64, State)> = None;
    for step in &socket.steps {
        if let Some((before_ns, _)) = before {
            let between = units::between(step.mono_ns.saturating_sub(before_ns));
            life.row(
                &format!("+{between}"),
                ("", Tone::Dim),
                &life.lines('│'),
                &[],
            );
        }
        if step.state == State::Closed {
            life.resets(socket, step.seq);
        }
        let came_from = before.map(|(_, state)| state);
        life.step(socket, came_from, step, pointed == Some(step.seq));
        before = Some((step.mono_ns, step.state));
    }
    if let Some((before_ns, state)) = before
        && state != State::Closed
    {
        let so_far = units::age(view.now_ns.saturating_sub(before_ns));
        let lines = life.lines('│');
        life.row(&format!("{so_far} so far"), ("", Tone::Dim), &lines, &[]);
        life.missing(socket, state);
    }
    summary(text, socket);
}

struct Life<'a, 't> {
    text: &'t mut Page,
    view: &'a View<'a>,
    has_peer: bool,
}

impl Life<'_, '_> {
    fn step(&mut self, socket: &Socket, before: Option<State>, step: &Step, is_pointed: bool) {
        let segments = if before.is_none() && socket.is_from_snapshot {
            &[]
        } else {
            passed(before, step.state)
        };
        let time = units::time_of_day(self.view.anchor(), step.mono_ns);
        let mark = if is_pointed { "◉" } else { "●" };
        let name = format!("{mark} {}", state_name(step.state));
        let tone = Tone::State(step.state);
        let mut notes = vec![(format!("#{}", step.seq), Tone::Dim)];
        if let Some(note) = note(socket, before, step.state) {
            notes.push((format!(" {note}"), Tone::Text));
        }
        let first = segments
            .first()
            .map_or_else(|| self.lines('│'), |segment| arrow(*segment, false));
        self.text.link(Subject::Event(step.seq));
        self.row(&time, (&name, tone), &first, &notes);
        for segment in segments.iter().skip(1) {
            self.row("", ("", tone), &arrow(*segment, false), &[]);
        }
    }

    /// Segments that have not come yet.
    fn missing(&mut self, socket: &Socket, state: State) {
        for (at, segment) in missing(state).iter().enumerate() {
            let note = match (at, segment.direction) {
                (0, Direction::Received) => "missing, from the peer".to_owned(),
                (0, Direction::Sent) => match &socket.owner {
                    Some(owner) => format!("missing, from {owner}"),
                    None => "missing, from this side".to_owned(),
                },
                _ => "then".to_owned(),
            };
            let arrow = arrow(*segment, true);
            self.row("", ("", Tone::Text), &arrow, &[(note, Tone::Warn)]);
        }
    }

    /// Resets that ended it.
    fn resets(&mut self, socket: &Socket, seq: u64) {
        let first = socket.steps.first().map_or(seq, |step| step.seq);
        let from = first.max(seq.saturating_sub(MAX_SEARCHED as u64 / 2));
        let near = self.view.log.since(from).take(MAX_SEARCHED);
        let found: Vec<(u64, u64, Segment)> = near
            .filter_map(|event| {
                let Body::Reset(reset) = &event.body else {
                    return None;
                };
                let id = SocketId::of(reset.sock.as_ref()?, reset.local, reset.peer);
                let direction = reset.direction;
                let segment = Segment {
                    direction,
                    name: "RST",
                };
                (id == socket.id()).then_some((event.mono_ns, event.seq, segment))
            })
            .collect();
        for (mono_ns, seq, segment) in found {
            let time = units::time_of_day(self.view.anchor(), mono_ns);
            let note = [
                (format!("#{seq}"), Tone::Dim),
                (" cut off".to_owned(), Tone::Warn),
            ];
            let arrow = arrow(segment, false);
            self.text.link(Subject::Event(seq));
            self.row(&time, ("✂ reset", Tone::Warn), &arrow, &note);
        }
    }

    /// The two lines with nothing between them.
    fn lines(&self, line: char) -> String {
        if self.has_peer {
            format!("{line}{}{line}", " ".repeat(BETWEEN))
        } else {
            line.to_string()
        }
    }

    fn row(&mut self, time: &str, state: (&str, Tone), between: &str, notes: &[Span]) {
        let (name, tone) = state;
        let mut line = vec![
            (format!("{time:<TIME$}"), Tone::Dim),
            (format!("{name:<STATE$}"), tone),
        ];
        let is_missing = between.contains('┄');
        line.push((
            between.to_owned(),
            if is_missing { Tone::Warn } else { Tone::Text },
        ));
        line.push(("  ".to_owned(), Tone::Dim));
        line.extend(notes.iter().cloned());
        self.text.line(line);
    }
}

/// Who is at which line.
fn ends() -> String {
    let peer = "peer";
    format!("us{peer:>width$}", width = BETWEEN + 2)
}

/// `├──── FIN ────▶│`; one that is missing is dotted.
fn arrow(segment: Segment, is_missing: bool) -> String {
    let (dash, head) = match (segment.direction, is_missing) {
        (Direction::Sent, false) => ('─', '▶'),
        (Direction::Sent, true) => ('┄', '▷'),
        (Direction::Received, false) => ('─', '◀'),
        (Direction::Received, true) => ('┄', '◁'),
    };
    let room = BETWEEN - 1 - segment.name.len() - 2;
    let left: String = std::iter::repeat_n(dash, room / 2).collect();
    let right: String = std::iter::repeat_n(dash, room - room / 2).collect();
    let shaft = format!("{left} {} {right}", segment.name);
    match segment.direction {
        Direction::Sent => format!("├{shaft}{head}│"),
        Direction::Received => format!("│{head}{shaft}┤"),
    }
}

/// What a step means for the close. The same state again: it went on as a
/// mini-socket, without its program.
fn note(socket: &Socket, before: Option<State>, state: State) -> Option<String> {
    if before == Some(state) {
        return match state {
            State::FinWait2 => Some("no owner any more".to_owned()),
            State::TimeWait => Some("its timer began anew".to_owned()),
            _ => None,
        };
    }
    match state {
        State::FinWait1 => Some(match &socket.left_by {
            Some(process) => format!("{process} closed first"),
            None => "this side closed first".to_owned(),
        }),
        State::CloseWait => Some("the peer closed first".to_owned()),
        State::Closing => Some("both closed at once".to_owned()),
        State::LastAck => Some("this side closed, too".to_owned()),
        State::TimeWait => Some("closed on both sides".to_owned()),
        _ => None,
    }
}

/// Who closed first, and how that is known.
fn summary(text: &mut Page, socket: &Socket) {
    if socket.peer.port == 0 {
        return;
    }
    let states: Vec<State> = socket.steps.iter().map(|step| step.state).collect();
    let was_cut_off = socket.state == State::Closed;
    let first = match closed_first(&states) {
        ClosedFirst::Us => "This side sent the first FIN.",
        ClosedFirst::Peer => "The peer sent the first FIN.",
        ClosedFirst::Both => "Both sent a FIN before they had the other's.",
        ClosedFirst::Unseen => "Who sent the first FIN was not seen; TIME_WAIT is with that side.",
        ClosedFirst::Nobody if was_cut_off => "It ended without a FIN.",
        ClosedFirst::Nobody => "",
    };
    text.blank();
    if !first.is_empty() {
        text.paragraph(first, Tone::Text);
    }
    text.paragraph(
        "The kernel showed the states. The segments follow from them (RFC 9293) and were not \
         captured.",
        Tone::Dim,
    );
}
