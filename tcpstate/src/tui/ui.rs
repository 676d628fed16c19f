//! The dashboard on the real terminal: events in, frames out.
//!
//! The loop owns the engine, the timers and the signals; it asks
//! [`Ui::next_input`] for keys, and every [`FRAME`] asks [`Ui::needs_redraw`].

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use futures_util::StreamExt as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::engine::Engine;
use crate::model::Phase;
use crate::stdio::Stream;
use crate::tui::app::App;
use crate::tui::config::Config;
use crate::tui::input::control::Control;
use crate::tui::output::new_file::{NewFile, stem};
use crate::tui::output::screenshot::{self, ScreenshotFormat};
use crate::tui::output::terminal::Guard;
use crate::tui::state::overlay::Content;
use crate::tui::state::release::{Freeing, Stage};
use crate::tui::state::replay::ReplayPosition;
use crate::tui::state::rounds::Rounds;
use crate::tui::theme::TerminalEnvironment;
use crate::units::{NS_PER_MS, NS_PER_S};

/// Least time between two frames: 30 a second.
pub const FRAME: Duration = Duration::from_millis(33);

/// A dashboard on the real terminal.
#[derive(Debug)]
pub struct Ui {
    app: App,
    terminal: Terminal<CrosstermBackend<BufWriter<Stream>>>,
    input: EventStream,
    drawn: Option<Drawn>,
    drawn_ns: u64,
    // Last: dropped after everything that writes to the terminal.
    guard: Guard,
}

/// What a frame showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Drawn {
    next_seq: u64,
    clock: u64,
}

/// Least time between two frames that show events or time, not keys.
const FRAME_NS: u64 = 33 * NS_PER_MS;

impl Ui {
    /// Takes the terminal and shows nothing yet. A theme that nobody asked for
    /// is the one that the environment suggests, `NO_COLOR` first.
    pub fn start(config: Config) -> io::Result<Self> {
        let variable = |name| std::env::var_os(name);
        let (no_color, colorfgbg) = (variable("NO_COLOR"), variable("COLORFGBG"));
        let (term, colorterm) = (variable("TERM"), variable("COLORTERM"));
        let environment = TerminalEnvironment {
            no_color: no_color.as_deref(),
            colorfgbg: colorfgbg.as_deref(),
            term: term.as_deref(),
            colorterm: colorterm.as_deref(),
        };
        let is_mouse = config.mouse;
        let theme = config.theme.unwrap_or_else(|| environment.theme());
        let app = App::new(config, theme, environment.depth());
        let mut guard = Guard::enter()?;
        if is_mouse {
            guard.use_mouse(true)?;
        }
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(Stream::screen())))?;
        Ok(Self {
            app,
            terminal,
            input: EventStream::new(),
            drawn: None,
            drawn_ns: 0,
            guard,
        })
    }

    /// The next key or resize. May be dropped and asked again: nothing is lost.
    pub async fn next_input(&mut self) -> io::Result<Event> {
        self.input.next().await.unwrap_or_else(|| {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the terminal's input has ended",
            ))
        })
    }

    /// Does what the key, the mouse or the window asks for; the next frame shows
    /// it. What only the caller can do is given back.
    pub fn handle(&mut self, event: &Event, engine: &Engine) -> io::Result<Control> {
        let control = match event {
            Event::Key(key) => self.app.press(*key, engine),
            Event::Mouse(mouse) => {
                self.app.point(*mouse, engine);
                Control::Continue
            }
            Event::Resize(..) => Control::Continue,
            Event::Paste(text) => {
                self.app.paste(text);
                Control::Continue
            }
            Event::FocusGained | Event::FocusLost => {
                return Ok(Control::Continue);
            }
        };
        self.drawn = None;
        match control {
            Control::Suspend => {
                self.guard.suspend()?;
                self.terminal.clear()?;
            }
            Control::Mouse(is_on) => self.guard.use_mouse(is_on)?,
            Control::Copy(copied) => {
                let is_in_tmux = std::env::var_os("TMUX").is_some();
                let mut out = Stream::screen();
                out.write_all(copied.sequence(is_in_tmux).as_bytes())?;
                out.flush()?;
            }
            Control::Save(file) => self.save(&file),
            Control::Screenshot(format) => {
                let file = self.screenshot(format, engine)?;
                self.save(&file);
            }
            Control::Continue
            | Control::Quit
            | Control::Replay(_)
            | Control::Release(_)
            | Control::AnswerRelease(_) => return Ok(control),
        }
        Ok(Control::Continue)
    }

    /// The screen as it is, without the reply to a key.
    fn screenshot(&mut self, format: ScreenshotFormat, engine: &Engine) -> io::Result<NewFile> {
        let size = self.terminal.size()?;
        let mut buf = Buffer::empty(Rect::new(0, 0, size.width, size.height));
        self.app.draw(&mut buf, engine, self.drawn_ns);
        let theme = self.app.state.settings.theme;
        let (extension, content) = match format {
            ScreenshotFormat::Text => ("txt", screenshot::text(&buf)),
            ScreenshotFormat::Svg => ("svg", screenshot::svg(&buf, theme)),
        };
        let anchor = engine.header().map(|header| &header.clock);
        Ok(NewFile {
            stem: stem(anchor, self.drawn_ns, "screen"),
            extension,
            content: content.into_bytes(),
        })
    }

    fn save(&mut self, file: &NewFile) {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let reply = match file.write(&folder) {
            // The name first: a long folder may have no room.
            Ok(path) => {
                let name = path.file_name().unwrap_or_default().display().to_string();
                format!("written to {name} in {}", folder.display())
            }
            Err(error) => format!(
                "cannot write {}.{} into {}: {error}",
                file.stem,
                file.extension,
                folder.display()
            ),
        };
        self.app.state.reply = Some(reply);
    }

    /// Whether a frame would show something new: an event, a key, a message, or
    /// a clock that has moved on. At most every [`FRAME`], but for keys at once.
    #[must_use]
    pub fn needs_redraw(&self, engine: &Engine, now_ns: u64) -> bool {
        let Some(drawn) = self.drawn else {
            return true;
        };
        let rows = &self.app.state.sockets.items;
        now_ns.saturating_sub(self.drawn_ns) >= FRAME_NS
            && (rows.is_unfinished() || drawn != self.fingerprint(engine, now_ns))
    }

    /// Draws a frame.
    pub fn draw(&mut self, engine: &Engine, now_ns: u64) -> io::Result<()> {
        let app = &mut self.app;
        execute!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        let drawn = self
            .terminal
            .draw(|frame| app.draw(frame.buffer_mut(), engine, now_ns))
            .map(|_| ());
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        drawn?;
        self.drawn = Some(self.fingerprint(engine, now_ns));
        self.drawn_ns = now_ns;
        Ok(())
    }

    /// Sets where in a recording the screen is.
    pub fn set_replay_position(&mut self, position: ReplayPosition) {
        let shown = &mut self.app.state.replay;
        if shown.as_ref() != Some(&position) {
            *shown = Some(position);
            self.drawn = None;
        }
    }

    /// Sets what has come of a test's restarts.
    pub fn set_rounds(&mut self, rounds: Rounds) {
        self.app.state.rounds = Some(rounds);
        self.drawn = None;
    }

    /// Whether somebody looks at something that goes with the screen: it is paused, or
    /// something is open or typed on it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let state = &self.app.state;
        self.app.feed.is_frozen() || state.overlay.is_some() || state.prompt.is_some()
    }

    /// Adds a message. Nothing else may print while the terminal is ours.
    pub fn notice(&mut self, text: String) {
        self.app.state.messages.push(text);
        self.drawn = None;
    }

    /// Says whether ports can be freed from here; if not, why.
    pub fn set_freeing(&mut self, able: Result<(), &'static str>) {
        self.app.state.freeing = match able {
            Ok(()) => Freeing::Idle,
            Err(why) => Freeing::Off(why),
        };
    }

    /// Shows what is said of the port that is freed.
    pub fn show_release(&mut self, text: &str) {
        self.app.state.freeing.add(text);
        self.drawn = None;
    }

    /// The plan waits for `yes`.
    pub fn ask_for_release(&mut self) {
        self.app.state.freeing.enter(Stage::Asking);
        self.drawn = None;
    }

    /// Nothing more is done about the port.
    pub fn end_release(&mut self) {
        let state = &mut self.app.state;
        state.freeing.enter(Stage::Ended);
        let is_open =
            matches!(&state.overlay, Some(open) if matches!(open.content, Content::Release));
        if let (false, Some(last)) = (is_open, state.freeing.last_line()) {
            let last = last.trim().to_owned();
            state.messages.push(last);
        }
        self.drawn = None;
    }

    fn fingerprint(&self, engine: &Engine, now_ns: u64) -> Drawn {
        // A frozen screen says how many seconds it is behind.
        let clock = if self.app.feed.is_frozen() {
            now_ns / NS_PER_S
        } else {
            now_ns / finest_shown_ns(engine)
        };
        Drawn {
            next_seq: engine.next_seq(),
            clock,
        }
    }
}

/// How often what the screen says about time changes: a downtime has tenths of
/// a second; ages and countdowns have seconds, each with its own beat.
fn finest_shown_ns(engine: &Engine) -> u64 {
    let is_down = engine
        .ports()
        .iter()
        .any(|(_, scenario)| matches!(scenario.phase, Phase::Down { .. }));
    if is_down {
        100 * NS_PER_MS
    } else if engine.table().is_empty() && engine.failures().len() == 0 {
        NS_PER_S
    } else {
        250 * NS_PER_MS
    }
}
