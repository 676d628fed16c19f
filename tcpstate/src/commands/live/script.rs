//! What a run is told by whoever sets the stage that it watches.

use std::sync::mpsc::Sender;

use anyhow::Result;
use tokio::sync::mpsc;

use super::Live;
use crate::clock;
use crate::event::{Body, NetnsEnd};
use crate::observe::changes::gone_with_namespace;
use crate::snapshot::sock_diag::SockDiag;
use crate::tui::Ui;
use crate::tui::rounds::Rounds;

/// What a script has to say.
#[derive(Debug)]
pub(in crate::commands) enum Cue {
    /// A line for the audience.
    Say(String),
    /// What is watched is in this network namespace from now on.
    Follow(Box<Follow>),
    /// What a program has called, seen by who supervises it.
    Fact(u64, Box<Body>),
    /// What has come of a test's restarts until now.
    Rounds(Box<Rounds>),
    /// The story is over; what is left on the stage can be looked at until the user goes.
    End,
    /// The run ends, unless somebody looks at something on the screen.
    Close,
    /// The run ends at once.
    Leave,
}

/// A network namespace that is watched from now on.
#[derive(Debug)]
pub(in crate::commands) struct Follow {
    pub(in crate::commands) netns: u32,
    /// Asks it, without entering it.
    pub(in crate::commands) diag: SockDiag,
    /// Waits until it is watched.
    pub(in crate::commands) is_followed: Sender<()>,
}

impl Live {
    /// Does what the script says. `Some`: the run ends, for this reason.
    pub(super) fn perform(&mut self, cue: Cue) -> Result<Option<&'static str>> {
        match cue {
            Cue::Say(line) => self.say(&line)?,
            Cue::Follow(follow) => {
                self.follow(follow.netns)?;
                // Nobody waits any more where that fails.
                let _ = follow.is_followed.send(());
            }
            Cue::Fact(mono_ns, body) => {
                // A listener is its program's, and the hooks tell of it.
                if matches!(*body, Body::Bind(_) | Body::Loss(_)) {
                    self.drain()?;
                    self.pipeline.feed(mono_ns, *body)?;
                }
            }
            Cue::Rounds(rounds) => {
                if let Some(ui) = &mut self.ui {
                    ui.set_rounds(*rounds);
                }
            }
            Cue::End if self.ui.is_some() => {}
            Cue::Close if self.ui.as_ref().is_some_and(Ui::is_held) => {}
            Cue::End => return Ok(Some("demo")),
            Cue::Close | Cue::Leave => return Ok(Some("command")),
        }
        Ok(None)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        // What happened before the line was said is shown before it.
        self.drain()?;
        match &mut self.ui {
            Some(ui) => ui.notice(line.to_owned()),
            None => self.pipeline.outputs_mut().remark(&format!("\n# {line}"))?,
        }
        Ok(())
    }

    /// Watches another namespace. The one before goes, with its sockets.
    fn follow(&mut self, netns: u32) -> Result<()> {
        self.drain()?;
        if let Some(before) = self.filters.netns.replace(netns) {
            let table = self.pipeline.engine().table();
            let left = table.in_netns(before).cloned().collect();
            for body in gone_with_namespace(left, NetnsEnd::Gone) {
                self.pipeline.feed(clock::monotonic_ns(), body)?;
            }
            self.pipeline.engine_mut().forget_ports(before);
        }
        self.kernel.namespaces.note_all();
        let header = self.header();
        self.pipeline
            .feed(header.clock.mono_ns, Body::Header(Box::new(header)))?;
        Ok(())
    }

    /// Whether a fact is none of a supervised run's: of another namespace, or a call that was
    /// made here in a program's place, of which the supervisor tells.
    pub(super) fn is_of_others(&self, body: &Body) -> bool {
        let Some(supervisor) = self.supervisor else {
            return false;
        };
        let is_elsewhere = body
            .netns()
            .is_some_and(|netns| Some(netns) != self.filters.netns);
        let is_own = matches!(body, Body::Bind(call) | Body::Listen(call)
            if call.process.pid == supervisor.pid);
        is_elsewhere || is_own
    }
}

/// What is said next; never, where there is no script.
pub(super) async fn next_cue(script: &mut Option<mpsc::Receiver<Cue>>) -> Cue {
    let Some(cues) = script else {
        return std::future::pending().await;
    };
    let cue = cues.recv().await;
    if cue.is_none() {
        *script = None;
    }
    cue.unwrap_or(Cue::End)
}
