//! The socket table. Looks only at the rows in sight.

use std::borrow::Cow;
use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::banner::state_name;
use super::{Screen, mark_row};
use crate::event::{KnownBy, State};
use crate::model::Socket;
use crate::tui::app::Panel;
use crate::tui::pen::{fit, width_of};
use crate::tui::rows::{Column, MAX_ROWS};
use crate::tui::theme::Role;
use crate::tui::units::{self, NS_PER_S};
use crate::tui::view::View;

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

/// A row's text.
struct Row {
    state: State,
    is_gone: bool,
    local: String,
    peer: String,
    owner: String,
    age: String,
    left: Option<Left>,
}

/// What is left of a timer.
struct Left {
    ns: u64,
    whole_ns: u64,
}

pub(super) fn draw(buf: &mut Buffer, area: Rect, screen: &Screen<'_>) {
    let is_focused = screen.is_focused(Panel::Sockets);
    screen.title(buf, area, is_focused, "sockets", &summary(screen));
    let app = screen.app;
    let offset = app.socket.offset();
    let rows: Vec<Option<Row>> = app
        .rows
        .ids()
        .iter()
        .skip(offset)
        .take(usize::from(area.height.saturating_sub(2)))
        .map(|id| {
            screen
                .view
                .socket(id)
                .map(|socket| row(screen.view, socket))
        })
        .collect();
    let widths = Widths::of(&rows, usize::from(area.width));
    draw_head(buf, area, screen, &widths);
    if rows.is_empty() {
        let text = if app.filter.is_empty() {
            "no sockets"
        } else {
            "no socket passes the filter; Esc clears it"
        };
        screen.pen(buf, area, 2).skip(1).put(text, Role::Dim);
    }
    for (line, (index, row)) in (2..).zip((offset..).zip(&rows)) {
        if let Some(row) = row {
            draw_row(buf, area, line, screen, row, &widths);
        }
        if is_focused && index == app.socket.index() {
            screen.pen(buf, area, line).put("▸", Role::Text);
            mark_row(buf, area, line, screen.theme);
        }
    }
}

fn summary(screen: &Screen<'_>) -> String {
    let app = screen.app;
    let total = count(screen.view.total);
    let matched = count(app.rows.matched());
    let mut text = if app.filter.is_empty() {
        total
    } else {
        format!("{matched} of {total}")
    };
    if app.rows.matched() > MAX_ROWS {
        let _ = write!(text, ", first {}", count(MAX_ROWS));
    }
    if !app.filter.is_empty() {
        let _ = write!(text, " · filter {}", app.filter.text());
    }
    text
}

fn draw_head(buf: &mut Buffer, area: Rect, screen: &Screen<'_>, widths: &Widths) {
    let sort = screen.app.sort;
    let arrow = if sort.is_reversed { "▼" } else { "▲" };
    let mut pen = screen.pen(buf, area, 1);
    pen.skip(1);
    for column in Column::ALL {
        let (text, role) = if sort.column == column {
            (format!("{}{arrow}", column.title()), Role::Accent)
        } else {
            (column.title().to_owned(), Role::Dim)
        };
        match column {
            Column::Age => {
                pen.column_right(AGE - 1, &text, role).skip(1);
            }
            Column::Left => {
                pen.column_right(widths.bar + TIME, &text, role);
            }
            _ => {
                pen.column(widths.of_column(column), &text, role);
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
        (Role::Dim, Role::Dim)
    } else {
        (Role::State(row.state), Role::Text)
    };
    let mut pen = screen.pen(buf, area, line);
    pen.skip(1)
        .column(widths.state - 1, &state_name(row.state), state)
        .skip(1)
        .column_tail(widths.local - 1, &row.local, text)
        .skip(1)
        .column_tail(widths.peer - 1, &row.peer, text)
        .skip(1)
        .column(
            widths.owner - 1,
            &short_owner(&row.owner, widths.owner - 1),
            text,
        )
        .skip(1)
        .column_right(AGE - 1, &row.age, text)
        .skip(1);
    if let Some(left) = &row.left {
        let (filled, rest) = bar(left, widths.bar);
        let time = match left.ns {
            0 => "due".to_owned(),
            ns => units::left(ns),
        };
        pen.put(&filled, state)
            .put(&rest, Role::Dim)
            .column_right(TIME, &time, text);
    }
}

fn row(view: &View<'_>, socket: &Socket) -> Row {
    Row {
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

/// Whose it is, and how that is known. A mini-socket is nobody's: it was left.
pub(super) fn owner(socket: &Socket) -> String {
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

/// Time in its state; `≥` where it was in it before we came.
pub(super) fn age(socket: &Socket, now_ns: u64) -> String {
    let age = units::age(now_ns.saturating_sub(socket.since_ns));
    if socket.is_from_snapshot && socket.steps.len() <= 1 {
        format!("≥{age}")
    } else {
        age
    }
}

/// How long such a timer runs.
fn whole_ns(view: &View<'_>, socket: &Socket) -> u64 {
    let seconds = match socket.state {
        // TCP_TIMEWAIT_LEN, a constant of the kernel.
        State::TimeWait => 60,
        _ => view
            .header
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

/// Widths of the columns that adapt to what is in sight.
struct Widths {
    state: usize,
    local: usize,
    peer: usize,
    owner: usize,
    bar: usize,
}

impl Widths {
    /// As wide as what they hold; where that is too much, the widest gives way.
    fn of(rows: &[Option<Row>], width: usize) -> Self {
        let rows = rows.iter().flatten();
        let widest = |text: fn(&Row) -> &str| {
            let longest = rows.clone().map(|row| width_of(text(row))).max();
            longest.unwrap_or(0).max(LEAST) + 1
        };
        let mut columns = [
            widest(|row| &row.local),
            widest(|row| &row.peer),
            widest(|row| &row.owner),
        ];
        let state = rows.clone().map(|row| row.state.name().len()).max();
        let state = state.unwrap_or(0).max(STATE) + 1;
        let mut bar = *BAR.start();
        let room = width.saturating_sub(1 + state + AGE + bar + TIME);
        while columns.iter().sum::<usize>() > room {
            let Some(widest) = columns.iter_mut().max() else {
                break;
            };
            if *widest <= LEAST {
                break;
            }
            *widest -= 1;
        }
        // What is spare goes to the bar, then between the columns.
        let mut spare = room.saturating_sub(columns.iter().sum());
        let longer = spare.min(BAR.end() - bar);
        bar += longer;
        spare -= longer;
        let gap = (spare / 3).min(4);
        let [local, peer, owner] = columns.map(|column| column + gap);
        Self {
            state,
            local,
            peer,
            owner,
            bar,
        }
    }

    fn of_column(&self, column: Column) -> usize {
        match column {
            Column::State => self.state,
            Column::Local => self.local,
            Column::Peer => self.peer,
            Column::Owner => self.owner,
            Column::Age => AGE,
            Column::Left => self.bar + TIME,
        }
    }
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
