//! The dashboard: an engine and keys in, a screen out.
//!
//! Reads the engine and never changes it; reads no clock: time is handed in
//! with every frame. Only [`terminal`] and [`ui`] touch the real terminal, the
//! rest draws into a buffer and is the same live, in replay and in tests.
//!
//! | part | job |
//! | --- | --- |
//! | [`ui`] | what the command's loop holds: keys in, frames out |
//! | [`terminal`] | enter and leave, whatever happens |
//! | [`keys`] | the key table; the help is printed from it |
//! | [`app`] | what the keys have chosen |
//! | [`filter`], [`rows`] | which sockets and events, in which order |
//! | [`config`] | what somebody wants it to be like |
//! | [`columns`] | the columns of the table, and how each sorts |
//! | `excerpt`, `clipboard`, `save`, [`shot`] | what is taken out: words, events, pictures |
//! | `when` | what is typed to go somewhere |
//! | `notes` | what was said to the person |
//! | `view`, `outlook` | the engine, or the frozen copy of it; what becomes of a port |
//! | `advice` | which fix comes first, and where it is meant to be run |
//! | `timeline` | the last minutes of a port as cells |
//! | `layout`, `panels` | where, and what |
//! | `exchange` | which segments passed for a socket to change its state |
//! | `words` | the words of TCP in plain words |
//! | `pen`, `units`, [`theme`] | how: the only way text reaches the screen |

pub mod app;
pub mod config;
mod draw;
mod input;
mod output;
#[cfg(test)]
pub(crate) mod screens;
mod state;
mod text;
pub mod theme;
pub mod ui;
mod units;

use ratatui::Frame;
use ratatui::buffer::Buffer;

pub use app::{App, Control, Overlay, Panel, Subject};
pub use input::keys::{self, Action, ReplayAction};
pub use state::replay;
pub use state::{columns, filter};
pub use theme::Theme;
pub use ui::Ui;

use crate::engine::Engine;

/// Draws the dashboard as it is at `now_ns` (monotonic clock of the engine).
pub fn draw(frame: &mut Frame<'_>, engine: &Engine, app: &mut App, now_ns: u64) {
    paint(frame.buffer_mut(), engine, app, now_ns);
}

/// The same into any buffer, which it fills.
pub(crate) fn paint(buf: &mut Buffer, engine: &Engine, app: &mut App, now_ns: u64) {
    let area = buf.area;
    buf.set_style(area, app.theme.base());
    draw::draw(buf, area, engine, app, now_ns);
    app.theme.reduce(app.depth, buf);
}

/// Gives the terminal back, if we have it: for an end that nothing is dropped at.
pub(crate) fn give_back_terminal() {
    output::terminal::leave();
}
