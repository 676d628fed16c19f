//! How wide the columns of the socket table are.

use ratatui::layout::Rect;

use super::row::Row;
use crate::tui::state::columns::Column;
use crate::tui::text::width_of;

/// Room for `STATE▲`.
const STATE: usize = 6;
/// `≥3d04h` and a space.
const AGE: usize = 7;
/// Least and greatest length of the countdown bar.
const BAR: std::ops::RangeInclusive<usize> = 4..=20;
/// Room for the time left beside the bar: `1m40s`.
pub(super) const TIME: usize = 6;
/// Least width of the columns that give way.
const LEAST: usize = 10;
/// Greatest width of a column that was added.
const ADDED: usize = 24;

/// Widths of the columns, each with the blank that follows it.
pub(super) struct Widths {
    pub(super) columns: Vec<(Column, usize)>,
    pub(super) bar: usize,
    /// Columns for which there is no room.
    pub(super) hidden: usize,
}

impl Widths {
    /// As wide as what they hold; where that is too much, the widest gives way,
    /// and then the last are left out.
    pub(super) fn of(rows: &[Option<Row>], columns: &[Column], width: usize) -> Self {
        let rows = rows.iter().flatten();
        let widest = |text: &dyn Fn(&Row) -> usize| rows.clone().map(text).max().unwrap_or(0);
        let mut bar = *BAR.start();
        let mut rank = 0;
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
                        let at = rank;
                        rank += 1;
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
    pub(super) fn shown(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().map(|of| of.0)
    }

    /// The columns that are shown, and where each ends.
    pub(super) fn ends(&self, area: Rect) -> Vec<(Column, u16)> {
        let mut end = usize::from(area.x) + 1;
        self.shown()
            .map(|column| {
                end += self.of_column(column);
                (column, u16::try_from(end).unwrap_or(u16::MAX))
            })
            .collect()
    }

    pub(super) fn of_column(&self, column: Column) -> usize {
        let of = self.columns.iter().find(|of| of.0 == column);
        of.map_or(1, |of| of.1)
    }
}

/// Addresses and names are cut where there is no room.
fn gives_way(column: Column) -> bool {
    matches!(column, Column::Local | Column::Peer | Column::Owner)
}
