//! `tcpstate restart-test`: does a server survive its restart?

mod client;
mod connections;
mod dashboard;
mod isolation;
mod options;
mod output;
mod port_sockets;
mod ready;
mod round;
mod server;
mod setup;
mod unhooked;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::cli::{Ready, RestartTestArgs};
use crate::clock;
use crate::diagnosis::restart_test as rule;
use crate::event::{Capture, RestartOutcome, RestartRound, RestartTest, SkippedWay, Way, YesNo};
use crate::export::restart_test as export;
use crate::supervise::signals::Signals;
use crate::tui::rounds::{CurrentRound, Rounds};

use super::run::github;
use dashboard::{Dashboard, Home};
use isolation::Isolation;
use port_sockets::PortSockets;
use round::Attempt;
use server::Program;
use setup::{POLL_EVERY, Plan, since};

/// What is said of a test that the user has ended.
const ENDED: &str = "it was ended at the dashboard, before every way had been tried: whether the \
                     server restarts in those that are missing is not known";

/// Restarts the server in each way. 0: at once in all; 1: not; 2: it is not known.
pub(super) fn run(
    args: &RestartTestArgs,
    is_verbose: bool,
    capture: Option<Capture>,
) -> Result<ExitCode> {
    let home = args.tui.then(Home::read).transpose()?;
    // Before there is a second thread.
    let signals = Signals::read_from_now().context("cannot read signals")?;
    let isolation = if args.host {
        refuse_held_port(args.port)?;
        Isolation::host()
    } else {
        Isolation::private()?
    };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("cannot become the parent of processes whose own has ended")?;
    let dashboard = home
        .map(|home| Dashboard::start(home, args.port, &isolation, capture))
        .transpose()?;
    let plan = Plan {
        program: Program {
            command: &args.command,
            pattern: match &args.ready {
                Ready::Stdout(pattern) => Some(pattern),
                _ => None,
            },
            // The screen is not the server's.
            verbose: is_verbose && dashboard.is_none(),
            dashboard: dashboard.as_ref(),
        },
        port: args.port,
        is_private: isolation.is_private(),
        clients: args.clients,
        ready: &args.ready,
        timeout: args.timeout,
        grace: args.grace,
    };
    let test = Test {
        args,
        plan,
        signals: &signals,
        isolation: &isolation,
        dashboard: dashboard.as_ref(),
    };
    let answer = test.run()?;
    if let Some(dashboard) = dashboard {
        dashboard.close(&signals)?;
    }
    print(&answer, args)?;
    Ok(ExitCode::from(match answer.verdict {
        RestartOutcome::AtOnce => 0,
        RestartOutcome::Waits | RestartOutcome::Fails => 1,
        RestartOutcome::Unknown => 2,
    }))
}

/// On the host, what is tested is the server and not what holds its port besides.
fn refuse_held_port(port: u16) -> Result<()> {
    let mut answer = options::ask_plainly(port)?;
    if answer.would_listen == YesNo::Unknown {
        answer = options::try_plainly(port)?;
    }
    if answer.would_listen == YesNo::Yes {
        return Ok(());
    }
    bail!(
        "the port is not free before the first start: {}",
        answer.summary
    )
}

struct Test<'a> {
    args: &'a RestartTestArgs,
    plan: Plan<'a>,
    signals: &'a Signals,
    isolation: &'a Isolation,
    dashboard: Option<&'a Dashboard>,
}

impl Test<'_> {
    fn run(&self) -> Result<RestartTest> {
        let mut answer = RestartTest {
            port: self.plan.port,
            private: self.isolation.is_private(),
            rounds: Vec::new(),
            skipped: Vec::new(),
            verdict: RestartOutcome::Unknown,
            fixes: Vec::new(),
            notes: Vec::new(),
        };
        'ways: for way in self.ways() {
            for number in 1..=self.args.times {
                self.announce(way, number, &answer);
                let tried = self.try_way(way, number, &mut answer.notes);
                if self.dashboard.is_some_and(Dashboard::has_ended) {
                    answer.notes.push(ENDED.to_owned());
                    answer.fixes = rule::fixes(&answer.rounds);
                    return Ok(answer);
                }
                match tried? {
                    Attempt::Round(round) => answer.rounds.push(*round),
                    Attempt::Skipped(why) => {
                        answer.skipped.push(SkippedWay { way, why });
                        continue 'ways;
                    }
                    Attempt::NoStart(round) => {
                        answer.rounds.push(*round);
                        break 'ways;
                    }
                    Attempt::ReadBeforeEnd => {}
                }
            }
        }
        answer.verdict = rule::verdict(&answer.rounds);
        answer.fixes = rule::fixes(&answer.rounds);
        self.show(None, &answer);
        Ok(answer)
    }

    /// The ways that are asked for, each once.
    fn ways(&self) -> Vec<Way> {
        let is_asked = |way: &Way| self.args.ways.is_empty() || self.args.ways.contains(way);
        Way::ALL.into_iter().filter(is_asked).collect()
    }

    fn announce(&self, way: Way, number: u32, answer: &RestartTest) {
        self.show(Some(CurrentRound { way, number }), answer);
        if self.dashboard.is_none() && io::stderr().is_terminal() && !self.args.json {
            let times = self.args.times;
            super::complain(&format!("{}, {number} of {times}", way.name()));
        }
    }

    fn show(&self, current: Option<CurrentRound>, answer: &RestartTest) {
        if let Some(dashboard) = self.dashboard {
            dashboard.show(Rounds {
                test: answer.clone(),
                current,
                times: self.args.times,
                ways: self.ways().len(),
            });
        }
    }

    fn try_way(&self, way: Way, number: u32, notes: &mut Vec<String>) -> Result<Attempt> {
        let tried = self.round(way, number, false, notes)?;
        let Attempt::ReadBeforeEnd = tried else {
            return Ok(tried);
        };
        // The same again with what cannot be handled.
        let mut tried = self.round(way, number, true, notes)?;
        if let Attempt::Round(round) = &mut tried {
            round.notes.push(
                "it reads what has come before it ends at SIGTERM: it was killed with SIGKILL"
                    .to_owned(),
            );
        }
        Ok(tried)
    }

    fn round(
        &self,
        way: Way,
        number: u32,
        is_killed_unread: bool,
        notes: &mut Vec<String>,
    ) -> Result<Attempt> {
        for note in self.isolation.enter_next()? {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        if let (Some(dashboard), true) = (self.dashboard, self.isolation.is_private()) {
            dashboard.follow()?;
        }
        // A thread of its own has the namespace of this one, and gives up rights for itself.
        let round = || {
            self.isolation.gained_rights().give_up()?;
            if !self.isolation.is_private()
                && let Some(tried) = self.wait_for_port(way, number)?
            {
                return Ok(tried);
            }
            round::run(
                self.plan,
                self.signals,
                way,
                number,
                is_killed_unread,
                notes,
            )
        };
        let ended = thread::scope(|scope| {
            thread::Builder::new()
                .name("round".to_owned())
                .spawn_scoped(scope, round)
                .map(thread::ScopedJoinHandle::join)
        })
        .context("cannot start a thread")?;
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// On the host the round before may have left something on the port.
    fn wait_for_port(&self, way: Way, number: u32) -> Result<Option<Attempt>> {
        let began_ns = clock::monotonic_ns();
        let mut port_sockets = PortSockets::new(self.plan.port)?;
        while !port_sockets.sockets()?.is_empty() {
            if since(began_ns) >= self.plan.timeout {
                let answer = options::ask_plainly(self.plan.port)?;
                let mut round = RestartRound::new(way, number, RestartOutcome::Unknown);
                round.notes =
                    vec!["the port was still held by what the restart before had left".to_owned()];
                round.diagnosis = rule::likely(answer).map(Box::new);
                return Ok(Some(Attempt::Round(Box::new(round))));
            }
            if let Some(signal) = self.signals.next()
                && [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].contains(&signal.number)
            {
                bail!("interrupted while it waited for the port to be free");
            }
            thread::sleep(POLL_EVERY * 20);
        }
        Ok(None)
    }
}

fn print(answer: &RestartTest, args: &RestartTestArgs) -> Result<()> {
    let text = if args.json {
        export::json(answer).context("cannot print the answer")? + "\n"
    } else if args.markdown {
        export::markdown(answer)
    } else {
        export::text(answer)
    };
    super::print(text.as_bytes(), b"")?;
    let markdown = export::markdown(answer);
    if answer.verdict == RestartOutcome::AtOnce {
        github::summarize(&markdown);
    } else {
        github::say("restart-test", &export::sentence(answer), &markdown);
    }
    Ok(())
}
