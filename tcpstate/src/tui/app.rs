//! What the keys have chosen: focus, rows, filter, what is open, frozen or not.
//!
//! Depends on nothing but the keys and the engine. What the engine knows is not
//! copied here, except while the screen is frozen.

mod links;
mod mouse;
mod moves;
mod pick;
mod prompt;
mod take;

use std::ops::Range;

use crossterm::event::{KeyEvent, KeyEventKind};

use crate::engine::Engine;
use crate::event::Cause;
use crate::model::{PortKey, SocketId};
use crate::tui::app::links::Links;
use crate::tui::config::Config;
use crate::tui::draw::layout::Plan;
use crate::tui::input::keys::{Action, Keys, Mode, ReplayAction};
use crate::tui::output::clipboard::Copied;
use crate::tui::output::new_file::Save;
use crate::tui::state::cursor::{Cursor, Rest};
use crate::tui::state::event_list::{Line, Stream};
use crate::tui::state::filter::Filter;
use crate::tui::state::messages::Notes;
use crate::tui::state::port_order::port_order;
use crate::tui::state::problems::{Banner, Problem, problems};
use crate::tui::state::replay::ReplayPosition;
use crate::tui::state::rows::{Column, Rows, Sort};
use crate::tui::state::view::{Frozen, View};
use crate::tui::theme::{Depth, Theme};

/// What the caller is to do after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// End the program.
    Quit,
    /// Stop the program as a shell's ctrl-z does.
    Suspend,
    /// Go elsewhere in the recording.
    Replay(ReplayAction),
    /// Put it into the terminal's clipboard.
    Copy(Copied),
    /// Write it into a new file.
    Save(Save),
    /// Write a picture of the screen into a new file.
    Shot(Shot),
    /// Ask the terminal for the mouse, or leave it alone.
    Mouse(bool),
}

/// How a picture of the screen is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shot {
    /// As text.
    Text,
    /// As a drawing.
    Svg,
}

/// What a key says that needs a failure.
const NO_FAILURE: &str = "no bind, listen or connect has failed so far";

/// A panel that the arrow keys can move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panel {
    /// The ports' stories.
    Ports,
    /// The failure banner.
    Banner,
    /// The socket table.
    #[default]
    Sockets,
    /// The event stream.
    Stream,
}

/// What lies over the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The help.
    Help,
    /// Everything that was said.
    Notes,
    /// The columns of the socket table.
    Columns,
    /// The themes.
    Themes,
    /// The detail of something.
    Detail(Subject),
}

/// What a detail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A port's story.
    Port(PortKey),
    /// A socket's life.
    Socket(SocketId),
    /// An event, by its position.
    Event(u64),
    /// A failed call, by its position.
    Failure(u64),
}

/// How far a frozen screen is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Events that came since.
    pub(crate) events: u64,
    /// Time that went by.
    pub(crate) ns: u64,
}

/// State of the dashboard.
#[derive(Debug)]
pub struct App {
    pub(crate) theme: Theme,
    pub(crate) depth: Depth,
    pub(crate) focus: Panel,
    pub(crate) overlay: Overlay,
    pub(crate) scroll: usize,
    /// What the open detail leads to.
    pub(crate) links: Links,
    pub(crate) filter: Filter,
    pub(crate) draft: Option<String>,
    /// Which part of it cannot be meant, in bytes.
    pub(crate) wrong: Option<Range<usize>>,
    /// What is typed is a time to go to, not a filter.
    pub(crate) is_time: bool,
    /// Where in a recording the screen is; live there is none.
    pub(crate) position: Option<ReplayPosition>,
    pub(crate) sort: Sort,
    /// Columns of the socket table, from left to right; never none.
    pub(crate) columns: Vec<Column>,
    /// The theme before one was looked for.
    theme_before: Option<Theme>,
    /// The chosen line of an open list.
    pub(crate) pick: usize,
    pub(crate) is_mouse: bool,
    /// Answer to the last key; the next one clears it.
    pub(crate) answer: Option<String>,
    pub(crate) notes: Notes,
    pub(crate) frozen: Option<Box<Frozen>>,
    pub(crate) rows: Rows,
    pub(crate) stream: Stream,
    pub(crate) ports: Vec<PortKey>,
    pub(crate) port: Cursor<PortKey>,
    pub(crate) socket: Cursor<SocketId>,
    pub(crate) event: Cursor<Line>,
    /// Where the panels were drawn last.
    plan: Option<Plan>,
    /// The fix that was copied last, and for which problem.
    copied_fix: Option<((PortKey, Cause), String)>,
    problem: Option<PortKey>,
    put_away: Vec<(PortKey, Cause)>,
    page: usize,
    pub(crate) keys: Keys,
    now_ns: u64,
}

impl App {
    /// A dashboard with nothing chosen.
    #[must_use]
    pub fn new(theme: Theme) -> Self {
        Self {
            theme,
            depth: Depth::default(),
            focus: Panel::default(),
            overlay: Overlay::None,
            scroll: 0,
            links: Links::default(),
            filter: Filter::default(),
            draft: None,
            wrong: None,
            is_time: false,
            position: None,
            sort: Sort::default(),
            columns: Column::USUAL.to_vec(),
            theme_before: None,
            pick: 0,
            is_mouse: false,
            answer: None,
            notes: Notes::default(),
            frozen: None,
            rows: Rows::default(),
            stream: Stream::default(),
            ports: Vec::new(),
            port: Cursor::new(Rest::First),
            socket: Cursor::new(Rest::First),
            event: Cursor::new(Rest::Last),
            plan: None,
            copied_fix: None,
            problem: None,
            put_away: Vec::new(),
            page: 1,
            keys: Keys::default(),
            now_ns: 0,
        }
    }

    /// One as it was configured.
    pub(crate) fn with(config: Config, theme: Theme, depth: Depth) -> Self {
        let Config {
            theme: _,
            mouse,
            columns,
            sort,
            filter,
            keys,
        } = config;
        Self {
            depth,
            is_mouse: mouse,
            columns,
            sort,
            filter,
            keys,
            ..Self::new(theme)
        }
    }

    /// Does what the key asks for.
    pub fn press(&mut self, key: KeyEvent, engine: &Engine) -> Control {
        if key.kind == KeyEventKind::Release {
            return Control::Continue;
        }
        match self.keys.action(self.mode(), key) {
            Some(action) => {
                self.answer = None;
                self.act(action, engine)
            }
            None => Control::Continue,
        }
    }

    /// Does what is asked for.
    pub fn act(&mut self, action: Action, engine: &Engine) -> Control {
        match action {
            Action::Quit => return Control::Quit,
            Action::Suspend => return Control::Suspend,
            Action::Help => self.toggle(Overlay::Help),
            Action::Notes => self.toggle(Overlay::Notes),
            Action::Up => self.step(-1, engine),
            Action::Down => self.step(1, engine),
            Action::PageUp => self.step(-self.page_size(), engine),
            Action::PageDown => self.step(self.page_size(), engine),
            Action::Top => self.step(isize::MIN, engine),
            Action::Bottom => self.step(isize::MAX, engine),
            Action::Left => self.sideways(false, engine),
            Action::Right => self.sideways(true, engine),
            Action::NextPanel => self.focus_on(1, engine),
            Action::PreviousPanel => self.focus_on(-1, engine),
            Action::Open => self.open_chosen(engine),
            Action::Close => self.close(),
            Action::Pause => self.pause(engine),
            Action::Filter => self.ask_filter(),
            Action::AskTime => self.ask_time(),
            Action::Replay(wish) => return Control::Replay(wish),
            Action::Sort => self.sort_sideways(true),
            Action::Reverse => self.sort.is_reversed = !self.sort.is_reversed,
            Action::Diagnosis => self.toggle_diagnosis(engine),
            Action::Clear => self.put_away(engine),
            Action::ClearEvents => self.clear_events(engine),
            Action::Copy => return self.copy_chosen(engine),
            Action::CopyDiagnosis => return self.copy_diagnosis(engine),
            Action::CopyFix => return self.copy_fix(engine),
            Action::Export => return self.export(engine),
            Action::ShotText => return Control::Shot(Shot::Text),
            Action::ShotSvg => return Control::Shot(Shot::Svg),
            Action::Columns => self.open_columns(),
            Action::Themes => self.open_themes(),
            Action::Mouse => {
                self.is_mouse = !self.is_mouse;
                let word = if self.is_mouse { "on" } else { "off" };
                self.answer = Some(format!("mouse {word}"));
                return Control::Mouse(self.is_mouse);
            }
            Action::Accept => return self.accept(engine),
            Action::Cancel | Action::Erase | Action::EraseAll | Action::Type(_) => {
                self.edit(action);
            }
        }
        Control::Continue
    }

    /// Something that the person should know; it stays until it is put away or
    /// followed by another, and can be read again later.
    pub fn notice(&mut self, text: String) {
        self.notes.say(text);
    }

    /// What became of what the last key asked for; the next key clears it.
    pub(crate) fn answer(&mut self, text: String) {
        self.answer = Some(text);
    }

    /// Whether the screen is frozen.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The panel that the arrow keys move in.
    #[must_use]
    pub fn focus(&self) -> Panel {
        self.focus
    }

    /// What lies over the dashboard.
    #[must_use]
    pub fn overlay(&self) -> Overlay {
        self.overlay
    }

    /// The filter in force.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Order of the socket table.
    #[must_use]
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// What the keys go to.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.draft.is_some() {
            Mode::Typing
        } else if self.is_replay() {
            Mode::Replay
        } else {
            Mode::Browse
        }
    }

    /// What is on the screen is of another time.
    pub(crate) fn is_replay(&self) -> bool {
        self.position.is_some()
    }

    /// What came since the screen was frozen.
    pub(crate) fn behind(&self, engine: &Engine) -> Option<Behind> {
        let frozen = self.frozen.as_ref()?;
        Some(Behind {
            events: engine.next_seq().saturating_sub(frozen.next_seq()),
            ns: self.now_ns.saturating_sub(frozen.now_ns()),
        })
    }

    /// Brings lists and choices up to date with the view.
    pub(crate) fn refresh(&mut self, view: &View<'_>) {
        self.rows.refresh(view, &self.filter, self.sort);
        self.stream.refresh(view, &self.filter, &self.notes);
        self.ports = port_order(view, &self.rows);
        let marks: Vec<_> = problems(view).iter().map(Problem::mark).collect();
        self.put_away.retain(|mark| marks.contains(mark));
        if self.focus == Panel::Banner && self.banner(view).is_empty() {
            self.focus = Panel::default();
        }
    }

    /// Scrolls what is chosen into sight.
    pub(crate) fn settle(&mut self, plan: &Plan) {
        self.plan = Some(*plan);
        let height =
            |area: ratatui::layout::Rect, head: u16| usize::from(area.height.saturating_sub(head));
        let ports = &self.ports;
        self.port
            .settle(ports.len(), plan.port_rows(ports.len()), |at| ports[at]);
        let ids = self.rows.ids();
        self.socket
            .settle(ids.len(), height(plan.sockets, 2), |at| ids[at]);
        let lines = self.stream.lines();
        self.event
            .settle(lines.len(), height(plan.stream, 1), |at| lines[at]);
    }

    /// Keeps the scroll of what is open within its text.
    pub(crate) fn settle_overlay(&mut self, lines: usize, height: usize) {
        self.page = height.saturating_sub(1).max(1);
        self.scroll = self.scroll.min(lines.saturating_sub(height));
    }

    /// Problems that were not put away, and which of them is shown.
    pub(crate) fn banner<'a>(&self, view: &View<'a>) -> Banner<'a> {
        let mut open = problems(view);
        open.retain(|problem| !self.put_away.contains(&problem.mark()));
        let chosen = open
            .iter()
            .position(|problem| Some(problem.port) == self.problem);
        Banner {
            chosen: chosen.unwrap_or(0),
            problems: open,
        }
    }

    fn open(&mut self, overlay: Overlay) {
        self.overlay = overlay;
        self.links = Links::default();
        // The story is read from its end.
        self.scroll = if overlay == Overlay::Notes {
            usize::MAX
        } else {
            0
        };
    }

    fn toggle(&mut self, overlay: Overlay) {
        let is_open = self.overlay == overlay;
        self.open(if is_open { Overlay::None } else { overlay });
    }

    fn close(&mut self) {
        if self.go_back() {
            return;
        }
        if self.overlay == Overlay::Themes
            && let Some(theme) = self.theme_before.take()
        {
            self.theme = theme;
        }
        if self.overlay != Overlay::None {
            self.open(Overlay::None);
        } else if !self.notes.put_away() {
            self.filter = Filter::default();
        }
    }

    fn pause(&mut self, engine: &Engine) {
        if self.frozen.take().is_none() {
            let view = View::live(engine, self.now_ns);
            let frozen = Frozen::of(&view, self.rows.ids());
            self.frozen = Some(Box::new(frozen));
        }
    }

    /// Puts the events so far out of sight, or brings them back.
    fn clear_events(&mut self, engine: &Engine) {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        let is_cleared = self.stream.toggle_cleared(view.next_seq, &self.notes);
        let words = if is_cleared {
            "the events so far are put away; again: they come back"
        } else {
            "all events are shown"
        };
        self.answer = Some(words.to_owned());
    }

    fn toggle_diagnosis(&mut self, engine: &Engine) {
        if let Overlay::Detail(Subject::Failure(_)) = self.overlay {
            self.open(Overlay::None);
            return;
        }
        self.put_away.clear();
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        // With nothing open, the last failure of all can still be read up on.
        let seq = self
            .banner(&view)
            .shown()
            .map(|problem| problem.latest.seq)
            .or_else(|| view.failures.last().map(|failure| failure.seq));
        match seq {
            Some(seq) => self.open(Overlay::Detail(Subject::Failure(seq))),
            None => self.answer = Some(NO_FAILURE.to_owned()),
        }
    }

    fn put_away(&mut self, engine: &Engine) {
        let view = View::of(self.frozen.as_deref(), engine, self.now_ns);
        self.put_away = problems(&view).iter().map(Problem::mark).collect();
        self.problem = None;
        if self.focus == Panel::Banner {
            self.focus = Panel::default();
        }
    }

    /// Tells of the time before each frame.
    pub(crate) fn begin_frame(&mut self, engine: &Engine, now_ns: u64) {
        self.now_ns = now_ns;
        self.notes.place(engine.next_seq(), now_ns);
    }
}
