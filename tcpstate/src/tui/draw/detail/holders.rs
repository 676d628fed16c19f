//! The sockets that stood in the way, and the events that show it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::engine::Failure;
use crate::event::Holder;
use crate::export::describe::EventRow;
use crate::identity::identity;
use crate::model::SocketId;
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::holder;
use crate::tui::state::panel::Subject;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units;

/// Holders that are listed; a port may be held by tens of thousands.
const MAX_HOLDERS: usize = 100;
/// Processes of one holder of which more is said.
const MAX_IDENTITIES: usize = 4;
/// Events that are listed.
const MAX_EVIDENCE: usize = 40;

/// Each holder leads to its life.
pub(crate) fn draw(text: &mut Page, failure: &Failure, view: &View<'_>) {
    let holders = &failure.diagnosis.holders;
    if holders.is_empty() {
        return;
    }
    let count = u64::try_from(holders.len()).unwrap_or(u64::MAX);
    let what = units::counted(count, "socket", "sockets");
    text.heading(&format!("held by {what}"));
    for held in longest_first(holders).into_iter().take(MAX_HOLDERS) {
        text.link(Subject::Socket(SocketId::of(
            &held.sock, held.local, held.peer,
        )));
        let at = text.lines.len();
        let mut parts = vec![holder(held, failure, view.now_ns)];
        parts.extend(facts(held));
        text.indented(2, &parts.join(", "), Tone::Text);
        if let Some(indent) = text.lines.get_mut(at).and_then(|line| line.first_mut()) {
            *indent = ("• ".to_owned(), Tone::State(held.state));
        }
        for process in held.processes.iter().flatten().take(MAX_IDENTITIES) {
            if let Some(identity) = identity(process) {
                text.indented(4, &format!("[{}] {identity}", process.pid), Tone::Dim);
            }
        }
    }
    if holders.len() > MAX_HOLDERS {
        let more = holders.len() - MAX_HOLDERS;
        text.line([(format!("and {more} more"), Tone::Dim)]);
    }
}

/// The one that lasts longest decides when the port is free.
fn longest_first(holders: &[Holder]) -> Vec<&Holder> {
    let mut holders: Vec<&Holder> = holders.iter().collect();
    holders.sort_by_key(|held| Reverse(held.expires_ms.unwrap_or(u64::MAX)));
    holders
}

/// What else is known of a holder.
fn facts(held: &Holder) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(reuse) = held.reuse {
        facts.push(if reuse.reuseaddr {
            "with SO_REUSEADDR".to_owned()
        } else {
            "without SO_REUSEADDR".to_owned()
        });
    }
    for other in held.processes.iter().flatten() {
        facts.push(format!("open in {other}"));
    }
    if held.processes_more > 0 {
        let more = units::count(held.processes_more.into());
        facts.push(format!("and in {more} more"));
    }
    if held.alike > 0 {
        facts.push(format!("and {} like it", units::count(held.alike.into())));
    }
    facts
}

/// The failed call and what shows its holders, oldest first; each leads to the
/// event. Those of the holder that lasts longest come first if they are many.
pub(crate) fn evidence(text: &mut Page, failure: &Failure, view: &View<'_>) {
    let holders = longest_first(&failure.diagnosis.holders);
    let mut seqs = BTreeSet::from([failure.seq]);
    let mut left_out = 0;
    for seq in holders.iter().flat_map(|held| &held.evidence) {
        if seqs.len() < MAX_EVIDENCE {
            seqs.insert(*seq);
        } else if !seqs.contains(seq) {
            left_out += 1;
        }
    }
    text.heading("evidence");
    for seq in seqs {
        match view.event(seq) {
            Some(event) => {
                let time = units::time_of_day(view.anchor(), event.mono_ns);
                let described = EventRow::of(event, false, view.own_netns());
                text.link(Subject::Event(seq));
                text.line([
                    (format!("{time}  "), Tone::Dim),
                    (format!("{:<10}", described.tag), described.meaning.into()),
                    (described.text, Tone::Text),
                    (format!("  #{seq}"), Tone::Dim),
                ]);
            }
            None => text.line([(format!("#{seq} is not kept any more"), Tone::Dim)]),
        }
    }
    if left_out > 0 {
        let more = format!("and {} more", units::count(left_out));
        text.line([(more, Tone::Dim)]);
    }
}
