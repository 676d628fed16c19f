//! The dashboard: an engine and keys in, a screen out.
//!
//! Reads the engine and never changes it; reads no clock: time is handed in
//! with every frame. Only `output::terminal` and [`ui`] touch the real terminal, the
//! rest draws into a buffer and is the same live, in replay and in tests.
//!
//! A key goes from top to bottom:
//!
//! | part | job | may use |
//! | --- | --- | --- |
//! | [`ui`] | what the command's loop holds: events in, frames out | everything |
//! | `app` | the dashboard without a terminal: keys in, a buffer out | everything below |
//! | `input` | key to action, and what an action changes in the state | `output`, `state` |
//! | `state` | what is shown and chosen; the engine's view, live or frozen | `text`, `theme` |
//! | `draw` | what the state looks like | the key table, `state`, `text`, `theme` |
//! | `output` | what leaves it: terminal, clipboard, files | `state`, `theme` |
//! | [`config`] | the configuration file | the key table, `state`, `theme` |
//! | [`theme`] | what a piece of text means, and how that looks | |
//! | `text` | text in cells | |

mod app;
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

pub use app::App;
pub use input::control::Control;
pub use input::keys::{self, Action, ReplayAction};
pub use state::release::ReleaseRequest;
pub use state::replay;
pub use state::rounds;
pub use state::{columns, filter};
pub use theme::Theme;
pub use ui::Ui;

/// Gives the terminal back, if we have it: for an end that nothing is dropped at.
pub(crate) fn give_back_terminal() {
    output::terminal::leave();
}
