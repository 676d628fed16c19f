//! What the dashboard shows, and what the keys have chosen of it.
//!
//! Depends on the engine's view and on nothing that draws or reads keys. What the
//! engine knows is not copied here, except while the screen is frozen.

pub(crate) mod advice;
pub(crate) mod clearance;
pub mod columns;
pub(crate) mod cursor;
pub(crate) mod event_list;
pub(crate) mod feed;
pub mod filter;
pub(crate) mod list;
pub(crate) mod messages;
pub(crate) mod overlay;
pub(crate) mod panel;
pub(crate) mod port_order;
pub(crate) mod problems;
pub(crate) mod prompt;
pub(crate) mod regions;
pub(crate) mod release;
pub mod replay;
pub mod rounds;
pub(crate) mod rows;
pub(crate) mod settings;
pub(crate) mod view;

use self::cursor::Follow;
use self::event_list::{Entry, EventList};
use self::filter::Filter;
use self::list::List;
use self::messages::Messages;
use self::overlay::Overlay;
use self::panel::{Panel, Subject};
use self::port_order::port_order;
use self::problems::Banner;
use self::prompt::Prompt;
use self::regions::Regions;
use self::release::Freeing;
use self::replay::ReplayPosition;
use self::rounds::Rounds;
use self::rows::Rows;
use self::settings::Settings;
use self::view::View;
use crate::model::PortKey;

/// Everything that is chosen, typed, open or in sight.
#[derive(Debug)]
pub(crate) struct UiState {
    pub(crate) settings: Settings,
    /// The filter in force.
    pub(crate) filter: Filter,
    /// The panel that the arrow keys move in.
    pub(crate) focus: Panel,
    /// What is open over the dashboard.
    pub(crate) overlay: Option<Overlay>,
    /// What is being typed.
    pub(crate) prompt: Option<Prompt>,
    /// What became of the last key; the next one clears it.
    pub(crate) reply: Option<String>,
    pub(crate) messages: Messages,
    pub(crate) ports: List<Vec<PortKey>>,
    pub(crate) sockets: List<Rows>,
    pub(crate) events: List<EventList>,
    pub(crate) banner: Banner,
    /// Where in a recording the screen is; `None`: it is live.
    pub(crate) replay: Option<ReplayPosition>,
    /// A test's restarts; `None`: nothing is tested.
    pub(crate) rounds: Option<Rounds>,
    pub(crate) regions: Regions,
    /// The port that is freed from here.
    pub(crate) freeing: Freeing,
}

impl UiState {
    /// Nothing chosen.
    pub(crate) fn new(settings: Settings, filter: Filter) -> Self {
        Self {
            settings,
            filter,
            focus: Panel::default(),
            overlay: None,
            prompt: None,
            reply: None,
            messages: Messages::default(),
            ports: List::new(Follow::Top),
            sockets: List::new(Follow::Top),
            events: List::new(Follow::Tail),
            banner: Banner::default(),
            replay: None,
            rounds: None,
            regions: Regions::default(),
            freeing: Freeing::Off("it is off here; `tcpstate release PORT` does it"),
        }
    }

    /// What is on the screen is as old as the recording.
    pub(crate) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Brings lists and choices up to date with the view.
    pub(crate) fn sync(&mut self, view: &View<'_>) {
        let rows = &mut self.sockets.items;
        rows.refresh(view, &self.filter, self.settings.sort);
        self.ports.items = port_order(view, rows);
        let events = &mut self.events.items;
        events.refresh(view, &self.filter, &self.messages);
        self.banner.sync(view);
        self.leave_empty_banner(view);
    }

    /// The arrow keys cannot move in a banner that is not there.
    pub(crate) fn leave_empty_banner(&mut self, view: &View<'_>) {
        if self.focus == Panel::Banner && self.banner.open(view).is_empty() {
            self.focus = Panel::default();
        }
    }

    /// What is open, else the chosen row of the panel.
    pub(crate) fn chosen(&self, view: &View<'_>) -> Option<Subject> {
        if let Some(subject) = self.overlay.as_ref().and_then(Overlay::subject) {
            return Some(subject);
        }
        match self.focus {
            Panel::Ports => self.ports.chosen().map(Subject::Port),
            Panel::Banner => {
                let problem = self.banner.open(view).shown();
                problem.map(|problem| Subject::Failure(problem.latest.seq))
            }
            Panel::Sockets => self.sockets.chosen().map(Subject::Socket),
            Panel::Events => match self.events.chosen() {
                Some(Entry::Event(seq)) => Some(Subject::Event(seq)),
                Some(Entry::Message(_)) | None => None,
            },
        }
    }

    /// Opens it, or closes it if such a thing is open.
    pub(crate) fn toggle(&mut self, overlay: Overlay) {
        let is_open = self
            .overlay
            .as_ref()
            .is_some_and(|open| open.is_same_kind(&overlay));
        self.overlay = (!is_open).then_some(overlay);
    }
}
