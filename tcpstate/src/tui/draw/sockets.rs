//! The socket table. Looks only at the rows in sight.

use std::borrow::Cow;
use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::event::{KnownBy, State};
use crate::model::Socket;
use crate::tui::draw::pen::Pen;
use crate::tui::draw::phrases::age;
use crate::tui::draw::phrases::state_name;
use crate::tui::draw::screen::{Screen, mark_row};
use crate::tui::state::UiState;
use crate::tui::state::columns::{Column, group_of, process_of};
use crate::tui::state::panel::Panel;
use crate::tui::state::rows::MAX_ROWS;
use crate::tui::state::view::View;
use crate::tui::text::{fit, width_of};
use crate::tui::theme::Tone;
use crate::tui::units::{self, NS_PER_S};

/// Room for `STATE▲`.
const STATE: usize = 6;
/// `≥3d04h` and a space.
const AGE: usize = 7;
/// Least and greatest length of the countdown bar.
const BAR: std::ops::RangeInclusive<usize> = 4..=20;
/// Room for the time left beside the bar: `1m40s`.
const TIME: usize = 6;
/// Least width of the columns that give way.
const LEAST: usize = 10;
/// Greatest width of a column that was added.
const ADDED: usize = 24;

/// A row's text.
struct Row {
    state: State,
    is_gone: bool,
    local: String,
    peer: String,
    owner: String,
    age: String,
    left: Option<Left>,
    /// What the added columns hold, in the order in which they are shown.
    added: Vec<String>,
}

/// What is left of a timer.
struct Left {
    ns: u64,
    whole_ns: u64,
}

/// Draws the table; returns its columns from left to right and where each ends.
pub(crate) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) -> Vec<(Column, u16)> {
    let is_focused = screen.is_focused(Panel::Sockets);
    let state = screen.state;
    let offset = state.sockets.offset();
    let rows = rows_in_sight(screen.view, state, area);
    let widths = Widths::of(&rows, &state.settings.columns, usize::from(area.width));
    let summary = summary(screen, &widths);
    screen.title(buf, area, is_focused, "sockets", &summary);
    draw_head(buf, area, screen, &widths);
    if rows.is_empty() {
        let text = if state.filter.is_empty() {
            "no sockets"
        } else {
            "no socket passes the filter; Esc clears it"
        };
        screen.pen(buf, area, 2).skip(1).put(text, Tone::Dim);
    }
    for (line, (index, row)) in (2..).zip((offset..).zip(&rows)) {
        if let Some(row) = row {
            draw_row(buf, area, line, screen, row, &widths);
        }
        if is_focused && index == state.sockets.index() {
            screen.pen(buf, area, line).put("▸", Tone::Text);
            mark_row(buf, area, line, screen.theme);
        }
    }
    widths.ends(area)
}

fn rows_in_sight(view: &View<'_>, state: &UiState, area: Rect) -> Vec<Option<Row>> {
    state
        .sockets
        .items
        .ids()
        .iter()
        .skip(state.sockets.offset())
        .take(usize::from(area.height.saturating_sub(2)))
        .map(|id| view.socket(id).map(|socket| row(view, state, socket)))
        .collect()
}

fn summary(screen: &Screen<'_>, widths: &Widths) -> String {
    let state = screen.state;
    let total = count(screen.view.total);
    let matched = count(state.sockets.items.matched());
    let mut text = if state.filter.is_empty() {
        total
    } else {
        format!("{matched} of {total}")
    };
    if state.sockets.items.matched() > MAX_ROWS {
        let _ = write!(text, ", first {}", count(MAX_ROWS));
    }
    if !state.filter.is_empty() {
        let _ = write!(text, " · filter {}", state.filter.text());
    }
    if widths.hidden > 0 {
        let hidden = u64::try_from(widths.hidden).unwrap_or(u64::MAX);
        let hidden = units::counted(hidden, "column has", "columns have");
        let _ = write!(text, " · {hidden} no room");
    }
    text
}

fn draw_head(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, widths: &Widths) {
    let sort = screen.state.settings.sort;
    let arrow = if sort.is_reversed { "▼" } else { "▲" };
    let mut pen = screen.pen(buf, area, 1);
    pen.skip(1);
    for column in widths.shown() {
        let (text, tone) = if sort.column == column {
            (format!("{}{arrow}", column.title()), Tone::Accent)
        } else {
            (column.title().to_owned(), Tone::Dim)
        };
        let width = widths.of_column(column);
        match column {
            Column::Age | Column::Left => {
                pen.column_right(width - 1, &text, tone).skip(1);
            }
            _ => {
                pen.column(width, &text, tone);
            }
        }
    }
}

fn draw_row(
    buf: &mut Buffer,
    area: Rect,
    line: u16,
    screen: &Screen<'_>,
    row: &Row,
    widths: &Widths,
) {
    let (state, text) = if row.is_gone {
        (Tone::Dim, Tone::Dim)
    } else {
        (Tone::State(row.state), Tone::Text)
    };
    let mut pen = screen.pen(buf, area, line);
    pen.skip(1);
    let mut added = row.added.iter();
    for column in widths.shown() {
        let width = widths.of_column(column) - 1;
        match column {
            Column::State => pen.column(width, &state_name(row.state), state),
            Column::Local => pen.column_tail(width, &row.local, text),
            Column::Peer => pen.column_tail(width, &row.peer, text),
            Column::Owner => pen.column(width, &short_owner(&row.owner, width), text),
            Column::Age => pen.column_right(width, &row.age, text),
            Column::Left => {
                if let Some(left) = &row.left {
                    draw_left(&mut pen, left, widths.bar, (state, text));
                } else {
                    pen.skip(width);
                }
                &mut pen
            }
            _ => pen.column(width, added.next().map_or("", String::as_str), text),
        };
        pen.skip(1);
    }
}

fn draw_left(pen: &mut Pen<'_>, left: &Left, cells: usize, (state, text): (Tone, Tone)) {
    let (filled, rest) = bar(left, cells);
    let time = match left.ns {
        0 => "due".to_owned(),
        ns => units::left(ns),
    };
    pen.put(&filled, state)
        .put(&rest, Tone::Dim)
        .column_right(TIME, &time, text);
}

fn row(view: &View<'_>, state: &UiState, socket: &Socket) -> Row {
    Row {
        added: state
            .settings
            .columns
            .iter()
            .filter(|column| is_added(**column))
            .map(|column| added(*column, socket))
            .collect(),
        state: socket.state,
        is_gone: socket.state == State::Closed,
        local: socket.local.to_string(),
        peer: if socket.peer.port == 0 {
            "–".to_owned()
        } else {
            socket.peer.to_string()
        },
        owner: owner(socket),
        age: age(socket, view.now_ns),
        left: (socket.state != State::Closed)
            .then(|| socket.remaining_ns(view.now_ns))
            .flatten()
            .map(|ns| Left {
                ns,
                whole_ns: whole_ns(view, socket).max(ns),
            }),
    }
}

fn is_added(column: Column) -> bool {
    !Column::USUAL.contains(&column)
}

/// What a column holds that is not there from the beginning.
fn added(column: Column, socket: &Socket) -> String {
    let process = process_of(socket);
    let text = match column {
        Column::User => process.map(|process| process.uid.to_string()),
        Column::Group => process.map(|process| group_of(process).to_owned()),
        Column::Options => socket.reuse.map(|reuse| reuse.names().join(" ")),
        Column::Netns => Some(socket.sock.netns.to_string()),
        Column::Cookie => Some(socket.sock.cookie.to_string()).filter(|cookie| cookie != "0"),
        _ => None,
    };
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| "–".to_owned())
}

/// Whose it is, and how that is known. A mini-socket is nobody's: it was left.
pub(crate) fn owner(socket: &Socket) -> String {
    if socket.is_mini {
        return match (&socket.left_by, &socket.owner) {
            (Some(process), _) => format!("left by {process}"),
            (None, Some(process)) => format!("once {process}"),
            (None, None) => "–".to_owned(),
        };
    }
    match &socket.owner {
        Some(process) => match process.via {
            KnownBy::Syscall | KnownBy::Tracked => process.to_string(),
            KnownBy::Proc => format!("{process} /proc"),
            KnownBy::Unknown => format!("{process} ?"),
        },
        None => "–".to_owned(),
    }
}

/// The owner in this width: the process's id is worth more than the words
/// around it, and more than the end of its name.
fn short_owner(owner: &str, width: usize) -> Cow<'_, str> {
    if width_of(owner) <= width {
        return owner.into();
    }
    let owner = owner.strip_prefix("left ").unwrap_or(owner);
    let owner = owner.strip_suffix(" /proc").unwrap_or(owner);
    match owner.rfind('[') {
        Some(at) if width_of(owner) > width && width_of(&owner[at..]) + 4 < width => {
            let name = fit(&owner[..at], width - width_of(&owner[at..]));
            format!("{name}{}", &owner[at..]).into()
        }
        _ => owner.into(),
    }
}

/// How long such a timer runs.
fn whole_ns(view: &View<'_>, socket: &Socket) -> u64 {
    let seconds = match socket.state {
        // TCP_TIMEWAIT_LEN, a constant of the kernel.
        State::TimeWait => 60,
        _ => view
            .header()
            .and_then(|header| header.sysctls.tcp_fin_timeout)
            .unwrap_or(60),
    };
    seconds.saturating_mul(NS_PER_S).max(1)
}

/// The bar's filled and empty part; something is filled while time is left.
fn bar(left: &Left, cells: usize) -> (String, String) {
    let share = u128::from(left.ns) * (cells as u128);
    let filled = share.div_ceil(u128::from(left.whole_ns.max(1)));
    let filled = usize::try_from(filled).unwrap_or(cells).min(cells);
    ("━".repeat(filled), "╌".repeat(cells - filled))
}

/// Widths of the columns, each with the blank that follows it.
struct Widths {
    columns: Vec<(Column, usize)>,
    bar: usize,
    /// Columns for which there is no room.
    hidden: usize,
}

impl Widths {
    /// As wide as what they hold; where that is too much, the widest gives way,
    /// and then the last are left out.
    fn of(rows: &[Option<Row>], columns: &[Column], width: usize) -> Self {
        let rows = rows.iter().flatten();
        let widest = |text: &dyn Fn(&Row) -> usize| rows.clone().map(text).max().unwrap_or(0);
        let mut bar = *BAR.start();
        let mut place = 0;
        let mut widths: Vec<(Column, usize)> = columns
            .iter()
            .map(|column| {
                let width = match column {
                    Column::State => widest(&|row| row.state.name().len()).max(STATE) + 1,
                    Column::Local => widest(&|row| width_of(&row.local)).max(LEAST) + 1,
                    Column::Peer => widest(&|row| width_of(&row.peer)).max(LEAST) + 1,
                    Column::Owner => widest(&|row| width_of(&row.owner)).max(LEAST) + 1,
                    Column::Age => AGE,
                    Column::Left => bar + TIME + 1,
                    added => {
                        let at = place;
                        place += 1;
                        let text = widest(&|row| row.added.get(at).map_or(0, |of| width_of(of)));
                        // Room for the arrow of the order.
                        text.clamp(added.title().len() + 1, ADDED) + 1
                    }
                };
                (*column, width)
            })
            .collect();
        // The blank after the last one may be cut.
        let room = width;
        let total = |widths: &[(Column, usize)]| widths.iter().map(|of| of.1).sum::<usize>();
        while total(&widths) > room {
            let gives = |of: &&mut (Column, usize)| gives_way(of.0) && of.1 > LEAST;
            if let Some(widest) = widths.iter_mut().filter(gives).max_by_key(|of| of.1) {
                widest.1 -= 1;
            } else if widths.len() > 1 {
                widths.pop();
            } else {
                break;
            }
        }
        let hidden = columns.len() - widths.len();
        // What is spare goes to the bar, then between the columns.
        let mut spare = room.saturating_sub(total(&widths));
        if let Some(left) = widths.iter_mut().find(|of| of.0 == Column::Left) {
            let longer = spare.min(BAR.end() - bar);
            bar += longer;
            left.1 += longer;
            spare -= longer;
        }
        let gap = (spare / 3).min(4);
        for of in widths.iter_mut().filter(|of| gives_way(of.0)) {
            of.1 += gap;
        }
        Self {
            columns: widths,
            bar,
            hidden,
        }
    }

    /// The columns for which there is room.
    fn shown(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().map(|of| of.0)
    }

    /// The columns that are shown, and where each ends.
    fn ends(&self, area: Rect) -> Vec<(Column, u16)> {
        let mut end = usize::from(area.x) + 1;
        self.shown()
            .map(|column| {
                end += self.of_column(column);
                (column, u16::try_from(end).unwrap_or(u16::MAX))
            })
            .collect()
    }

    fn of_column(&self, column: Column) -> usize {
        let of = self.columns.iter().find(|of| of.0 == column);
        of.map_or(1, |of| of.1)
    }
}

/// Addresses and names are cut where there is no room.
fn gives_way(column: Column) -> bool {
    matches!(column, Column::Local | Column::Peer | Column::Owner)
}

fn count(number: usize) -> String {
    units::count(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_owner_keeps_its_process_id() {
        for (width, short) in [
            (24, "left by server-old[4711]"),
            (23, "by server-old[4711]"),
            (16, "by server…[4711]"),
            (8, "by server-old[4711]"),
        ] {
            assert_eq!(short_owner("left by server-old[4711]", width), short);
        }
        assert_eq!(short_owner("nginx[4711] /proc", 12), "nginx[4711]");
    }
}
