//! The failure banner: when a bind fails, the thing one cannot miss. It takes
//! its place above the table and no keys.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::engine::Failure;
use crate::event::{Applies, Effect, Fix, Holder};
use crate::tui::draw::phrases::{
    certainty, fix_text, free, holder_origin, state_name, verb, wanted,
};
use crate::tui::draw::screen::{Screen, Span};
use crate::tui::input::keys::{Action, Keys};
use crate::tui::state::advice::{self, Advice};
use crate::tui::state::clearance::Clearance;
use crate::tui::state::panel::Panel;
use crate::tui::state::problems::OpenProblems;
use crate::tui::state::view::View;
use crate::tui::text::{width_of, wrap_to};
use crate::tui::theme::Tone;
use crate::units::{self};

/// Width of the labels before the text.
const LABEL: usize = 8;
/// Height of a terminal that nobody has enlarged.
const USUAL_HEIGHT: u16 = 24;
/// Lines of the sentence that says why.
const WHY_LINES: usize = 4;
/// Lines of what to do, and of the command for it, where there is room.
const FIX_LINES: usize = 2;
const COMMAND_LINES: usize = 2;

/// The banner's text, ready to be drawn.
pub(crate) struct BannerText {
    title: Vec<Span>,
    free: Option<Span>,
    body: Vec<(String, String, Tone)>,
    foot: String,
    keys: String,
}

/// The banner; `None`: nothing fails.
pub(crate) fn text(
    view: &View<'_>,
    open: &OpenProblems<'_>,
    area: Rect,
    keys: &Keys,
    is_replay: bool,
) -> Option<BannerText> {
    let problem = open.shown()?;
    let failure = problem.latest;
    let diagnosis = &failure.diagnosis;
    let width = usize::from(area.width).saturating_sub(LABEL + 4);
    // On the usual 24 rows, a whole diagnosis is worth half of the table.
    let least = if area.height >= USUAL_HEIGHT { 6 } else { 3 };
    let room = usize::from(area.height / 3).saturating_sub(2).max(least);
    let mut body = advised(view, failure, width, room, (keys, is_replay));
    if body.is_empty() {
        let text = match diagnosis.missing.as_slice() {
            [] => "no cause could be shown".to_owned(),
            missing => format!("no cause could be shown: {}", missing.join("; ")),
        };
        body.push(("why".to_owned(), text, Tone::Text));
    }
    body.truncate(room);
    let mut hints = Vec::new();
    for (action, does) in [(Action::Diagnosis, "detail"), (Action::Clear, "put away")] {
        hints.extend(keys.label(action).map(|key| format!("{key} {does}")));
    }
    if open.problems.len() > 1 {
        let (at, all) = (open.chosen + 1, open.problems.len());
        hints.push(format!("←→ {at} of {all}"));
    }
    let free = free(view, failure);
    let ago = units::age(view.now_ns.saturating_sub(failure.mono_ns));
    Some(BannerText {
        title: title(failure, problem.count, free.as_ref(), area),
        free,
        body,
        foot: format!(
            "{} · {} · {ago} ago",
            diagnosis.cause.name(),
            certainty(diagnosis.certainty)
        ),
        keys: hints.join(" · "),
    })
}

/// Why it failed, who holds the port, what to do: a label and a line each. Where
/// there is little room, what has to be known before a command is run stays.
fn advised(
    view: &View<'_>,
    failure: &Failure,
    width: usize,
    room: usize,
    (keys, is_replay): (&Keys, bool),
) -> Vec<(String, String, Tone)> {
    let diagnosis = &failure.diagnosis;
    let advised = advice::in_order(&diagnosis.fixes);
    let first = advised.first();
    let is_gone = Clearance::of(view, failure) == Clearance::Gone;
    let command = first.filter(|advice| advice.fix.command.is_some() && !is_gone);
    let is_of_then = is_replay && command.is_some_and(Advice::is_run);
    let location = location(view, failure, width, is_of_then);
    let least = [first.is_some(), location.is_some(), command.is_some()];
    let least = least.into_iter().filter(|is_there| *is_there).count();
    let why_lines = room.saturating_sub(least.max(2)).clamp(1, WHY_LINES);
    let why = wrap_to(&diagnosis.summary, width, why_lines);
    let mut spare = room.saturating_sub(why.len() + least);
    // What there is room for besides, the most useful first.
    let mut take = |lines: usize| {
        let taken = lines.min(spare);
        spare -= taken;
        taken
    };
    let command = command.map(|advice| {
        let line = &advice.line;
        // What fits stands there as it is copied, blanks and all.
        if line.len() <= width {
            return vec![line.clone()];
        }
        let lines = wrap_to(line, width, COMMAND_LINES).len();
        wrap_to(line, width, 1 + take(lines.saturating_sub(1)))
    });
    let held_by = held_by(&diagnosis.holders).filter(|_| take(1) == 1);
    let fix = first.map(|advice| {
        let mut text = fix_text(advice.fix, failure, view);
        let effect = advice.fix.effect.filter(|_| !is_gone);
        if effect == Some(Effect::Destroys)
            && let Some(warning) = Effect::Destroys.warning()
        {
            text = format!("This {warning}: {text}");
        }
        let lines = wrap_to(&text, width, FIX_LINES).len();
        let text = wrap_to(&text, width, 1 + take(lines.saturating_sub(1)));
        (fix_label(advice.fix), text)
    });
    let put_off = advice::deferred(&diagnosis.fixes).filter(|_| !is_gone && take(1) == 1);

    let mut body = Vec::new();
    let mut add = |label: &str, lines: Vec<String>, tone: Tone| {
        for (at, line) in lines.into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            body.push((label.to_owned(), line, tone));
        }
    };
    add("why", why, Tone::Strong);
    add("held by", held_by.into_iter().collect(), Tone::Text);
    if let Some((label, text)) = fix {
        add(label, text, Tone::Good);
    }
    if let Some((label, text)) = location {
        add(label, vec![text], Tone::Warn);
    }
    // The key stands beside what it copies.
    let key = keys.label(Action::CopyFix);
    let key = key.map_or_else(String::new, |key| format!("{key} copy"));
    add(&key, command.unwrap_or_default(), Tone::Accent);
    let or = put_off.map(|fix| fix.text.clone());
    add("or", or.into_iter().collect(), Tone::Text);
    body
}

fn fix_label(fix: &Fix) -> &'static str {
    match fix.applies {
        Applies::Now => "fix",
        Applies::NextTime => "later",
        Applies::No => "not",
    }
}

/// Where the call was made, and for a command of a replay also when: neither is
/// here and now. `None`: it is.
fn location(
    view: &View<'_>,
    failure: &Failure,
    width: usize,
    is_of_then: bool,
) -> Option<(&'static str, String)> {
    let made_in = advice::failed_in(view, failure);
    if !is_of_then {
        return Some(("where", made_in?));
    }
    let mut text = advice::failed_at(view, failure);
    if let Some(made_in) = made_in {
        text += ", ";
        text += &made_in;
    }
    let room = width.saturating_sub(width_of(&text));
    let advice = [": look again before you run it", ": look again first"];
    let advice = advice.into_iter().find(|advice| width_of(advice) <= room);
    Some(("as of", text + advice.unwrap_or_default()))
}

impl BannerText {
    pub(crate) fn height(&self) -> u16 {
        u16::try_from(self.body.len() + 2).unwrap_or(u16::MAX)
    }

    pub(crate) fn draw(self, buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
        let is_focused = screen.is_focused(Panel::Banner);
        let edge = match &self.free {
            _ if is_focused => Tone::Accent,
            // Bad news that is over is not shown as bad.
            Some((_, Tone::Good)) => Tone::Good,
            _ => Tone::Bad,
        };
        let mut pen = screen.pen(buf, area, 0);
        pen.put("┏━ ", edge).at_right("━┓", edge);
        if let Some((free, tone)) = &self.free {
            pen.at_right(" ", edge)
                .at_right(free, *tone)
                .at_right(" ", edge);
        }
        for (text, tone) in &self.title {
            pen.put(text, *tone);
        }
        pen.put(" ", edge).fill("━", edge);
        for (row, (label, text, tone)) in (1..).zip(&self.body) {
            let mut pen = screen.pen(buf, area, row);
            pen.put("┃ ", edge)
                .at_right("┃", edge)
                .column(LABEL, label, Tone::Dim)
                .put(text, *tone);
        }
        let mut pen = screen.pen(buf, area, area.height.saturating_sub(1));
        pen.put("┗━ ", edge)
            .at_right("━┛", edge)
            .at_right(" ", edge)
            .at_right(&self.keys, Tone::Dim)
            .at_right(" ", edge)
            .put(&self.foot, Tone::Dim)
            .put(" ", edge)
            .fill("━", edge);
    }
}

/// `✖ nginx[4712] cannot bind 0.0.0.0:8080, tried 7×: EADDRINUSE`; the error's
/// name is left out whole where there is no room.
fn title(failure: &Failure, count: u64, free: Option<&Span>, area: Rect) -> Vec<Span> {
    /// Corners and the blanks beside what stands between them.
    const FRAME: usize = 8;
    let call = &failure.call;
    let times = if count > 1 {
        format!(", tried {count}×")
    } else {
        String::new()
    };
    let errno = call.errno_name.as_deref().map_or_else(
        || format!("errno {}", call.errno.unwrap_or(0)),
        str::to_owned,
    );
    let what = format!(
        "✖ {} cannot {} {}{times}",
        call.process,
        verb(failure.kind),
        wanted(failure)
    );
    let taken = FRAME + width_of(&what) + free.map_or(0, |(text, _)| width_of(text));
    let mut title = vec![(what, Tone::Bad)];
    if taken + width_of(&errno) + 2 <= usize::from(area.width) {
        title.push((format!(": {errno}"), Tone::Text));
    }
    title
}

/// `6 sockets, the last TIME_WAIT ↔ 10.0.0.2:40011, left by nginx[4711]`: the
/// one that lasts longest stands for all; times and this side's address stand
/// elsewhere in the banner.
fn held_by(holders: &[Holder]) -> Option<String> {
    let longest = holders
        .iter()
        .max_by_key(|holder| holder.expires_ms.unwrap_or(u64::MAX))?;
    let mut text = if holders.len() > 1 {
        let count = u64::try_from(holders.len()).unwrap_or(u64::MAX);
        format!("{} sockets, the last ", units::count(count))
    } else {
        String::new()
    };
    text += &state_name(longest.state);
    if longest.peer.port == 0 {
        let _ = write!(text, " {}", longest.local);
    } else {
        let _ = write!(text, " ↔ {}", longest.peer);
    }
    Some(text + &holder_origin(longest))
}
