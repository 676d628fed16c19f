//! The dashboard without a terminal: keys in, a buffer out.
//!
//! Holds the state, what it is fed from and the keys in force, and hands them to
//! `input` and `draw`.

use crossterm::event::{KeyEvent, KeyEventKind, MouseEvent};
use ratatui::buffer::Buffer;

use super::config::Config;
use super::draw;
use super::input;
use super::input::control::Control;
use super::input::keys::{Action, Keys, Mode};
use super::state::UiState;
use super::state::feed::Feed;
use super::state::settings::Settings;
use super::theme::{ColorDepth, Theme};
use crate::engine::Engine;

/// The dashboard without a terminal.
#[derive(Debug)]
pub struct App {
    pub(crate) state: UiState,
    pub(crate) feed: Feed,
    pub(crate) keys: Keys,
}

impl App {
    /// One as it was configured.
    #[must_use]
    pub fn new(config: Config, theme: Theme, depth: ColorDepth) -> Self {
        let Config {
            theme: _,
            mouse,
            columns,
            sort,
            filter,
            read_only: _,
            keys,
        } = config;
        let settings = Settings {
            theme,
            depth,
            is_mouse_on: mouse,
            columns,
            sort,
        };
        Self {
            state: UiState::new(settings, filter),
            feed: Feed::default(),
            keys,
        }
    }

    /// One without a configuration.
    #[cfg(test)]
    pub(crate) fn with_theme(theme: Theme) -> Self {
        Self::new(Config::default(), theme, ColorDepth::default())
    }

    /// Does what the key asks for.
    pub fn press(&mut self, key: KeyEvent, engine: &Engine) -> Control {
        if key.kind == KeyEventKind::Release {
            return Control::Continue;
        }
        match self.keys.action(self.mode(), key) {
            Some(action) => {
                self.state.reply = None;
                self.act(action, engine)
            }
            None => Control::Continue,
        }
    }

    /// Does what is asked for.
    pub fn act(&mut self, action: Action, engine: &Engine) -> Control {
        input::act(&mut self.state, &mut self.feed, action, engine)
    }

    /// Does what the mouse asks for.
    pub(crate) fn point(&mut self, event: MouseEvent, engine: &Engine) {
        input::mouse::point(&mut self.state, &self.feed.view(engine), event);
    }

    /// Takes in what was pasted.
    pub(crate) fn paste(&mut self, text: &str) {
        input::typing::paste(&mut self.state, text);
    }

    /// What the keys go to.
    pub(crate) fn mode(&self) -> Mode {
        input::mode(&self.state)
    }

    /// Draws the dashboard as it is at `now_ns` (monotonic clock of the engine) into
    /// a buffer, which it fills.
    pub fn draw(&mut self, buf: &mut Buffer, engine: &Engine, now_ns: u64) {
        let area = buf.area;
        let settings = &self.state.settings;
        let (theme, depth) = (settings.theme, settings.depth);
        buf.set_style(area, theme.base());
        self.begin_frame(engine, now_ns);
        let view = self.feed.view(engine);
        let behind = self.feed.behind(engine);
        draw::draw(buf, area, &view, &mut self.state, &self.keys, behind);
        theme.reduce(depth, buf);
    }

    /// Sets the time before each frame.
    pub(crate) fn begin_frame(&mut self, engine: &Engine, now_ns: u64) {
        self.feed.begin_frame(now_ns);
        self.state.messages.stamp(engine.next_seq(), now_ns);
    }
}
