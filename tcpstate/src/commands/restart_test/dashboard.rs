//! The dashboard beside a test: the screen of `watch` over the port, with the restarts.
//!
//! It is a thread of its own, so that drawing takes no time from what is measured. The hooks
//! tell it what happens; where they may not be used, who supervises the server and the
//! kernel's list do, and it says what is not seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;

use super::isolation::Isolation;
use super::unhooked::Unhooked;
use crate::cli::{Format, OutputArgs, ScreenArgs};
use crate::clock;
use crate::commands::live::{self, Cue, Follow, Start, Supervisor};
use crate::commands::{config, watch};
use crate::event::{Body, Capture, Filters, Loss, LossStage};
use crate::kernel::KernelError;
use crate::recording::parts::Rotation;
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{netns, proc};
use crate::supervise::signals::Signals;
use crate::tui::config::Config;
use crate::tui::rounds::Rounds;

/// What was sent to the screen and not taken yet. Of facts, more are counted as lost.
const MAX_CUES: usize = 4096;
/// It watches another namespace within this time, or not.
const FOLLOWS: Duration = Duration::from_secs(5);
/// How often it is polled whether it has ended.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The dashboard, seen from the test.
#[derive(Debug)]
pub(super) struct Dashboard {
    cues: mpsc::Sender<Cue>,
    thread: Option<JoinHandle<Result<()>>>,
    /// The user has ended it.
    has_ended: Arc<AtomicBool>,
    port: u16,
    lost: AtomicU64,
}

/// What it shows.
struct Shown {
    port: u16,
    /// The host's namespace, for the thread that tests may be in another one already.
    home: u32,
    screen: Config,
    capture: Option<Capture>,
}

/// What must be read before there are namespaces.
pub(super) struct Home {
    netns: u32,
    screen: Config,
}

impl Home {
    /// Reads it. An error: there is no terminal to show it on, or its configuration is wrong.
    pub(super) fn read() -> Result<Self> {
        use std::io::IsTerminal as _;

        if !std::io::stdout().is_terminal() {
            bail!("--tui needs a terminal on the standard output; leave it out to get the table");
        }
        let output = OutputArgs {
            format: Some(Format::Tui),
            json: false,
            screen: ScreenArgs {
                theme: None,
                mouse: false,
                config: None,
            },
        };
        Ok(Self {
            netns: netns::current()?,
            screen: config::of(&output)?,
        })
    }
}

impl Dashboard {
    /// Takes the terminal. It has begun to watch when this returns.
    pub(super) fn start(
        home: Home,
        port: u16,
        isolation: &Isolation,
        capture: Option<Capture>,
    ) -> Result<Self> {
        let (cues, script) = mpsc::channel(MAX_CUES);
        let (ready, is_ready) = channel();
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let mask = Signals::of_screen();
        let rights = isolation.gained_rights();
        let shown = Shown {
            port,
            home: home.netns,
            screen: home.screen,
            capture,
        };
        let thread = thread::Builder::new()
            .name("dashboard".to_owned())
            .spawn(move || {
                let shown = mask
                    .block()
                    .map_err(anyhow::Error::from)
                    .and_then(|_| rights.give_up())
                    .and_then(|()| show(shown, script, &ready));
                ended.store(true, Ordering::Release);
                shown
            })
            .context("cannot start a thread for the dashboard")?;
        let mut dashboard = Self {
            cues,
            thread: Some(thread),
            has_ended,
            port,
            lost: AtomicU64::new(0),
        };
        if is_ready.recv().is_err() {
            dashboard.join()?;
            bail!("the dashboard ended before the test began");
        }
        Ok(dashboard)
    }

    /// Has it watch the calling thread's network namespace, which is new.
    pub(super) fn follow(&self) -> Result<()> {
        let netns = netns::current()?;
        let diag = SockDiag::open(netns).context("cannot look at the namespace's sockets")?;
        let (is_followed, followed) = channel();
        self.tell(Cue::Follow(Box::new(Follow {
            netns,
            diag,
            is_followed,
        })));
        // Where it has ended, that is noticed elsewhere.
        let _ = followed.recv_timeout(FOLLOWS);
        Ok(())
    }

    /// Shows what has come of the restarts.
    pub(super) fn show(&self, rounds: Rounds) {
        self.tell(Cue::Rounds(Box::new(rounds)));
    }

    /// Sends what the server has called.
    pub(super) fn send_fact(&self, mono_ns: u64, body: Box<Body>) {
        let is_of_port = match &*body {
            Body::Bind(call) | Body::Listen(call) => {
                call.requested.port == self.port
                    || call.local.is_some_and(|local| local.port == self.port)
            }
            Body::Socket(seen) => seen.local.port == self.port,
            _ => false,
        };
        if is_of_port && self.cues.try_send(Cue::Fact(mono_ns, body)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the user has ended it.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// The test is over: gives the terminal back, once nobody looks at something on it any
    /// more, or a signal comes.
    pub(super) fn close(mut self, signals: &Signals) -> Result<()> {
        self.send_lost();
        self.tell(Cue::Close);
        while !self.has_ended() {
            while let Some(signal) = signals.next() {
                if [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]
                    .contains(&signal.number)
                {
                    self.tell(Cue::Leave);
                }
            }
            thread::sleep(POLL_EVERY);
        }
        self.join()
    }

    fn send_lost(&self) {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let loss = Loss {
                stage: LossStage::User,
                count,
                resynced: false,
            };
            self.tell(Cue::Fact(clock::monotonic_ns(), Box::new(Body::Loss(loss))));
        }
    }

    fn tell(&self, cue: Cue) {
        // Who has ended needs no words.
        let _ = self.cues.blocking_send(cue);
    }

    fn join(&mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Dashboard {
    /// The terminal is given back before anything is said.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.tell(Cue::Leave);
            let _ = thread.join();
        }
    }
}

/// Shows it until it is asked to end, or the user ends it.
fn show(shown: Shown, script: mpsc::Receiver<Cue>, ready: &Sender<()>) -> Result<()> {
    let Shown {
        port,
        home,
        screen,
        capture,
    } = shown;
    let filters = Filters {
        ports: vec![[port, port]],
        netns: Some(netns::current()?),
        ..Filters::default()
    };
    watch::runtime()?.block_on(async {
        let why = if proc::has_numbers_of_the_host() {
            let live = live::start(Start {
                filters: filters.clone(),
                report_connects: false,
                stdout: None,
                screen: screen.clone(),
                record: None,
                rotation: Rotation::default(),
                verbose: false,
                capture,
                // The test is of this process, too.
                is_confined: false,
                is_read_only: true,
                metrics: None,
                supervisor: Some(Supervisor {
                    pid: std::process::id(),
                    home,
                }),
            });
            match live {
                Ok(live) => {
                    let _ = ready.send(());
                    return live.run(None, Some(script)).await.map(drop);
                }
                Err(error) => match error.downcast::<KernelError>() {
                    Ok(refused) => refused.to_string(),
                    Err(error) => return Err(error),
                },
            }
        } else {
            "processes have other numbers here than on the host".to_owned()
        };
        let unhooked = Unhooked::start(port, home, filters, screen, &why)?;
        let _ = ready.send(());
        unhooked.run(script).await
    })
}
