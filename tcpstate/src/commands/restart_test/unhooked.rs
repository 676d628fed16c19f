//! The dashboard where no hook may be used: the server's calls from who supervises it, and
//! its sockets from the kernel's list, again and again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock;
use crate::commands::header;
use crate::commands::live::{Cue, Follow};
use crate::commands::run::explainer;
use crate::engine::Limits;
use crate::event::{Body, Capture, Filters, Header, NetnsEnd, Process, Tick};
use crate::model::Socket;
use crate::observe::changes;
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{Outputs, Pipeline, Selector};
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, owners, sysctl};
use crate::stdio;
use crate::supervise::tree;
use crate::tui::config::Config;
use crate::tui::ui::FRAME;
use crate::tui::{Control, Ui};
use crate::units::NS_PER_S;

/// How often the kernel's list is read.
const LIST_EVERY_NS: u64 = 50_000_000;

/// A dashboard without hooks.
pub(super) struct Unhooked {
    pipeline: Pipeline,
    ui: Ui,
    header: Header,
    port: u16,
    diag: Option<SockDiag>,
    listed_ns: u64,
}

impl Unhooked {
    /// Takes the terminal, and says what is not seen. `why`: there is no hook.
    pub(super) fn start(
        port: u16,
        home: u32,
        filters: Filters,
        screen: Config,
        why: &str,
    ) -> Result<Self> {
        let header = Header {
            netns: Some(home),
            filters,
            ..header::of(
                vec![explainer::probe()],
                Capture::Tracepoints,
                sysctl::read(),
            )
        };
        let diag = header.filters.netns.and_then(|it| SockDiag::open(it).ok());
        let mut ui = Ui::start(screen).context("cannot take the terminal")?;
        ui.notice(format!(
            "No hooks: the port's sockets are listed 20 times a second. What comes and goes \
             between, resets, and who closed first are not seen: {why}."
        ));
        let outputs = Outputs::new(Stdout::None, None);
        let mut unhooked = Self {
            pipeline: Pipeline::new(Limits::default(), Selector::default(), outputs),
            ui,
            header,
            port,
            diag,
            listed_ns: 0,
        };
        unhooked.feed_header()?;
        Ok(unhooked)
    }

    /// Shows what comes until it is asked to end, or the user ends it.
    pub(super) async fn run(mut self, mut script: mpsc::Receiver<Cue>) -> Result<()> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                cue = script.recv() => {
                    if self.perform(cue.unwrap_or(Cue::Leave))? {
                        return Ok(());
                    }
                }
                input = self.ui.next_input() => {
                    if stdio::has_hung_up() {
                        return Ok(());
                    }
                    let input = input.context("cannot read keys from the terminal")?;
                    let control = self.ui.handle(&input, self.pipeline.engine())?;
                    if matches!(control, Control::Quit) {
                        return Ok(());
                    }
                }
                _ = frames.tick() => {}
            }
            let now_ns = clock::monotonic_ns();
            if now_ns >= self.listed_ns.saturating_add(LIST_EVERY_NS) {
                self.listed_ns = now_ns;
                self.list()?;
            }
            if now_ns.saturating_sub(self.pipeline.last_fact_ns()) >= NS_PER_S {
                self.pipeline.feed(now_ns, Body::Tick(Tick {}))?;
            }
            self.pipeline.write_out()?;
            if self.ui.needs_redraw(self.pipeline.engine(), now_ns) {
                let drawn = self.ui.draw(self.pipeline.engine(), now_ns);
                if stdio::has_hung_up() {
                    return Ok(());
                }
                drawn.context("cannot draw on the terminal")?;
            }
        }
    }

    /// Does what the script says. `true`: that is the end.
    fn perform(&mut self, cue: Cue) -> Result<bool> {
        match cue {
            Cue::Say(line) => self.ui.notice(line),
            Cue::Rounds(rounds) => self.ui.set_rounds(*rounds),
            Cue::Fact(mono_ns, body) => self.pipeline.feed(mono_ns, *body)?,
            Cue::Follow(follow) => self.follow(*follow)?,
            Cue::Close if self.ui.is_held() => {}
            Cue::End | Cue::Close | Cue::Leave => return Ok(true),
        }
        Ok(false)
    }

    fn follow(&mut self, follow: Follow) -> Result<()> {
        // What it has come to, before it goes.
        self.list()?;
        for body in changes::gone_with_namespace(self.known(), NetnsEnd::Gone) {
            self.pipeline.feed(clock::monotonic_ns(), body)?;
        }
        if let Some(before) = self.header.filters.netns {
            self.pipeline.engine_mut().forget_ports(before);
        }
        self.diag = Some(follow.diag);
        self.header.filters.netns = Some(follow.netns);
        self.feed_header()?;
        let _ = follow.is_followed.send(());
        Ok(())
    }

    fn feed_header(&mut self) -> Result<()> {
        let header = Box::new(self.header.clone());
        let now_ns = clock::monotonic_ns();
        Ok(self.pipeline.feed(now_ns, Body::Header(header))?)
    }

    /// The sockets of the namespace that the table has.
    fn known(&self) -> Vec<Socket> {
        let table = self.pipeline.engine().table();
        let netns = self.header.filters.netns.into_iter();
        netns.flat_map(|it| table.in_netns(it)).cloned().collect()
    }

    /// Takes in how the port's sockets are now.
    fn list(&mut self) -> Result<()> {
        let Some(diag) = &mut self.diag else {
            return Ok(());
        };
        // What cannot be read now can be the next time.
        let Ok(mut items) = diag.dump() else {
            return Ok(());
        };
        items.retain(|item| item.local.port == self.port || item.peer.port == self.port);
        let now_ns = clock::monotonic_ns();
        let mut there = HashSet::new();
        let mut owners = Owners::default();
        for item in &items {
            let mut seen = item.to_seen(None);
            there.insert((seen.is_mini(), seen.sock.cookie, seen.local, seen.peer));
            let known = self.pipeline.engine().lookup(&seen);
            let news = match known {
                None => {
                    seen.process = owners.of(item).or(seen.process);
                    Some(seen)
                }
                Some(known) => changes::difference(known, Some(seen), now_ns),
            };
            if let Some(seen) = news {
                self.pipeline.feed(now_ns, Body::Socket(seen))?;
            }
        }
        for socket in self.known() {
            let key = (
                socket.is_mini,
                socket.sock.cookie,
                socket.local,
                socket.peer,
            );
            // A socket that is only bound is not on every kernel's list.
            let is_listed = socket.state != crate::event::State::Bound;
            if is_listed && !there.contains(&key) {
                let closed = changes::closed(&socket);
                self.pipeline.feed(now_ns, Body::Socket(closed))?;
            }
        }
        Ok(())
    }
}

/// Who has sockets open: the test, and what it has started.
#[derive(Default)]
struct Owners(Option<BTreeMap<u64, Arc<Process>>>);

impl Owners {
    fn of(&mut self, item: &SocketItem) -> Option<Arc<Process>> {
        let open = self.0.get_or_insert_with(|| {
            let mut open = BTreeMap::new();
            let own = std::process::id();
            for pid in tree::descendants().into_iter().chain([own]) {
                let sockets: Vec<u64> = owners::open_sockets(pid).collect();
                let Some(process) = owners::process(pid).filter(|_| !sockets.is_empty()) else {
                    continue;
                };
                let process = Arc::new(process);
                for inode in sockets {
                    open.entry(inode).or_insert_with(|| Arc::clone(&process));
                }
            }
            open
        });
        open.get(&item.inode?).cloned()
    }
}
