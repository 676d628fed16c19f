//! One restart: start, connections in the state that the way says, stop, start, and what came
//! of it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::{Client, Connection};
use super::connections::{Clients, Reached};
use super::options::{self, ListenerOptions};
use super::port_sockets;
use super::ready::Readiness;
use super::server::{self, Server};
use super::setup::{POLL_EVERY, Plan, Setup, since};
use crate::clock;
use crate::diagnosis::restart_test::{self, Measured};
use crate::event::{RestartOutcome, RestartRound, State, Way};
use crate::model::NS_PER_MS;
use crate::supervise::signals::Signals;
use crate::supervise::tree;

/// A client tries to connect so often.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// Tries that wait for an answer, or to be accepted, at one time.
const MAX_TRIES: usize = 16;
/// The FINs and RSTs of a process that has ended reach its clients within this time.
const SETTLES: Duration = Duration::from_millis(200);
/// The same where others have its connections open, so that there may be none.
const SETTLES_BESIDE_OTHERS: Duration = Duration::from_millis(20);
/// A server that goes to the background has its first process end so soon after it listens.
const GOES_TO_BACKGROUND: Duration = Duration::from_millis(20);
/// The same where it has not got the listener, and is the more likely about to.
const GOES_TO_BACKGROUND_WITHOUT_LISTENER: Duration = Duration::from_millis(500);
/// What is left of a round is asked to end, and killed after so long.
const END_GRACE: Duration = Duration::from_secs(1);

/// What came of a round.
#[derive(Debug)]
pub(super) enum Attempt {
    /// A restart.
    Round(Box<RestartRound>),
    /// This server cannot be stopped in this way.
    Skipped(String),
    /// It did not even start the first time; another round would not either.
    NoStart(Box<RestartRound>),
    /// It has read what was not to be read before it ended.
    ReadBeforeEnd,
}

struct Round<'a> {
    setup: Setup<'a>,
    number: u32,
    /// The server is killed where it would read before it ends.
    is_killed_unread: bool,
    notes: Vec<String>,
}

/// Runs one, in the calling thread's network namespace. Nothing of the server is left.
pub(super) fn run(
    plan: Plan<'_>,
    signals: &Signals,
    way: Way,
    number: u32,
    is_killed_unread: bool,
    notes: &mut Vec<String>,
) -> Result<Attempt> {
    let mut round = Round {
        setup: Setup::new(plan, way, signals)?,
        number,
        is_killed_unread,
        notes: Vec::new(),
    };
    let mut clients = Clients::default();
    let tried = round.go(&mut clients);
    if let Some(why) = &round.setup.server.unsupervised {
        let note = format!(
            "failed binds could not be seen, so that they are not counted and a cause is likely \
             at best: {why}"
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let Setup {
        server,
        mut port_sockets,
        ..
    } = round.setup;
    // Told first: it may have something to clean up.
    server.end(END_GRACE.min(plan.grace))?;
    if !plan.is_private {
        clients.leave_nothing(&mut port_sockets)?;
    }
    tried
}

impl Round<'_> {
    fn go(&mut self, clients: &mut Clients) -> Result<Attempt> {
        let start_ns = clock::monotonic_ns();
        self.setup.server.start()?;
        let addr = match self.first_start(start_ns)? {
            Ok(addr) => addr,
            Err(why) => return Ok(Attempt::NoStart(Box::new(self.no_start(&why)?))),
        };
        let first_start_ms = ms_since(start_ns);
        let first_failed_binds = self.setup.server.failed_calls().unwrap_or(0);
        let options = options::of_listener(&self.setup.server, &mut self.setup.port_sockets)?;
        self.settle()?;
        if self.setup.server.ended().is_some() {
            let why = self.why_ended();
            return Ok(Attempt::NoStart(Box::new(self.no_start(&why)?)));
        }
        match clients.reach_state(&mut self.setup, addr)? {
            Reached::Yes => {}
            Reached::No(why) => return Ok(self.unknown(why)),
            Reached::NotApplicable(why) => return Ok(Attempt::Skipped(why)),
        }
        self.setup.server.let_go()?;
        if let Some(status) = self.setup.server.ended() {
            let how = server::describe(status);
            return Ok(self.unknown(format!("it ended {how} before it was stopped")));
        }
        let stop_ns = clock::monotonic_ns();
        if !self.stop(clients, stop_ns)? {
            return Ok(self.unknown(format!(
                "it could not be stopped within {} s, not even by SIGKILL",
                self.setup.plan.timeout.as_secs()
            )));
        }
        let sockets = self.setup.port_sockets.sockets()?;
        let left = port_sockets::count(&sockets);
        if let Some(why) = clients.not_reached(self.setup.way, &left) {
            if self.setup.way == Way::UnreadData && !self.is_killed_unread {
                return Ok(Attempt::ReadBeforeEnd);
            }
            return Ok(self.unknown(why));
        }
        let old_listeners: Vec<u64> = sockets
            .iter()
            .filter(|item| item.state == State::Listen)
            .map(|item| item.sock.cookie)
            .collect();
        let start_ns = clock::monotonic_ns();
        self.setup.server.start()?;
        let up = self.restart(start_ns, Connecting::new(addr, old_listeners), clients)?;
        let now_ns = up.at_ns.unwrap_or_else(clock::monotonic_ns);
        let start_ms = up
            .at_ns
            .map(|_| now_ns.saturating_sub(start_ns) / NS_PER_MS);
        let failed_binds = self.setup.server.failed_calls();
        let failed_binds = failed_binds.map(|all| all.saturating_sub(first_failed_binds));
        let outcome = restart_test::outcome(Measured {
            first_start_ms,
            start_ms,
            first_failed_binds,
            failed_binds: failed_binds.unwrap_or(0),
        });
        let mut round = RestartRound::new(self.setup.way, self.number, outcome);
        round.downtime_ms = up.at_ns.map(|_| now_ns.saturating_sub(stop_ns) / NS_PER_MS);
        round.start_ms = start_ms;
        round.first_start_ms = Some(first_start_ms);
        round.refused = up.refused;
        round.reset = up.reset + clients.count_reset();
        round.failed_binds = failed_binds;
        round.left = left;
        round.leftover = self.setup.server.left();
        if outcome != RestartOutcome::AtOnce {
            round.diagnosis = self.setup.server.diagnosis().cloned().map(Box::new);
        }
        if outcome == RestartOutcome::Fails {
            if round.diagnosis.is_none() {
                round.diagnosis = options
                    .and_then(|options| self.likely(&options).transpose())
                    .transpose()?
                    .map(Box::new);
            }
            if round.diagnosis.is_none() || up.why_not.is_timeout() {
                self.notes.push(self.say_why_not(&up.why_not));
            }
        }
        round.notes = std::mem::take(&mut self.notes);
        Ok(Attempt::Round(Box::new(round)))
    }

    /// Waits until the first start serves, and gives where. An error: why it does not.
    fn first_start(&mut self, start_ns: u64) -> Result<Result<std::net::SocketAddr, WhyNot>> {
        let mut readiness = Readiness::new(self.setup.plan.ready);
        loop {
            self.setup.server.pump(POLL_EVERY)?;
            if self.setup.server.ended().is_some() {
                return Ok(Err(self.why_ended()));
            }
            if let Some(addr) =
                Readiness::listens(&self.setup.server, &mut self.setup.port_sockets)?
                && readiness.is_ready(&self.setup.server, addr, &mut self.setup.ports)?
            {
                return Ok(Ok(addr));
            }
            if since(start_ns) >= self.setup.plan.timeout {
                return Ok(Err(WhyNot::Timeout));
            }
        }
    }

    /// Lets the first process of a server end that goes to the background.
    fn settle(&mut self) -> Result<()> {
        let ready_ns = clock::monotonic_ns();
        let main: Vec<u32> = self.setup.server.main_pid().into_iter().collect();
        let open = tree::open_sockets_of(&main);
        let time = if self.setup.port_sockets.listeners(&open)?.is_empty() {
            GOES_TO_BACKGROUND_WITHOUT_LISTENER
        } else {
            GOES_TO_BACKGROUND
        };
        while self.setup.server.ended().is_none() && since(ready_ns) < time {
            self.setup.server.pump(POLL_EVERY)?;
        }
        Ok(())
    }

    /// Why a start that has ended does not serve.
    fn why_ended(&self) -> WhyNot {
        match self.setup.server.ended() {
            Some(status) if self.setup.server.processes().is_empty() => {
                WhyNot::Ended(server::describe(status))
            }
            _ => WhyNot::Background,
        }
    }

    /// Stops it as the way says. `false`: it could not be stopped.
    fn stop(&mut self, clients: &mut Clients, stop_ns: u64) -> Result<bool> {
        let are_all_killed = self.setup.way == Way::Sigkill
            || self.setup.way == Way::UnreadData && self.is_killed_unread;
        match self.setup.way {
            _ if are_all_killed => Server::signal_all(Signal::KILL),
            Way::ChildLeft => self.setup.server.signal_main(Signal::KILL),
            _ => self.setup.server.signal_main(Signal::TERM),
        }
        if self.setup.way == Way::UnreadData {
            // It was held still until now.
            Server::signal_all(Signal::CONT);
        }
        let mut is_killed = false;
        // Whoever kills a control group waits until it is empty.
        while self.setup.server.ended().is_none()
            || are_all_killed && !self.setup.server.processes().is_empty()
        {
            self.setup.server.pump(POLL_EVERY)?;
            clients.advance(self.setup.way);
            if are_all_killed {
                Server::signal_all(Signal::KILL);
            }
            if since(stop_ns) >= self.setup.plan.grace && !is_killed && !are_all_killed {
                is_killed = true;
                self.setup.server.signal_main(Signal::KILL);
                self.notes.push(format!(
                    "it did not end within {} s after SIGTERM, and was killed",
                    self.setup.plan.grace.as_secs_f64()
                ));
            }
            if since(stop_ns)
                >= self
                    .setup
                    .plan
                    .grace
                    .saturating_add(self.setup.plan.timeout)
            {
                return Ok(false);
            }
        }
        let ended_ns = clock::monotonic_ns();
        loop {
            clients.advance(self.setup.way);
            let settles = if self.setup.server.processes().is_empty() {
                SETTLES
            } else {
                SETTLES_BESIDE_OTHERS
            };
            if !clients.are_any_open() || since(ended_ns) >= settles {
                return Ok(true);
            }
            self.setup.server.pump(POLL_EVERY)?;
        }
    }

    /// Waits until the restarted server serves; clients try to connect meanwhile.
    fn restart(
        &mut self,
        start_ns: u64,
        mut connecting: Connecting,
        clients: &mut Clients,
    ) -> Result<Up> {
        let mut readiness = Readiness::new(self.setup.plan.ready);
        let mut up = Up {
            at_ns: None,
            refused: 0,
            reset: 0,
            why_not: WhyNot::Timeout,
        };
        loop {
            self.setup.server.pump(POLL_EVERY)?;
            clients.advance(self.setup.way);
            connecting.advance(&mut self.setup, &mut up)?;
            if connecting.is_accepted
                && readiness.is_ready(&self.setup.server, connecting.addr, &mut self.setup.ports)?
            {
                up.at_ns = Some(clock::monotonic_ns());
                break;
            }
            if let Some(status) = self.setup.server.ended()
                && self.setup.server.processes().is_empty()
            {
                up.why_not = WhyNot::Ended(server::describe(status));
                break;
            }
            if since(start_ns) >= self.setup.plan.timeout {
                break;
            }
        }
        // What has been explained a moment ago.
        self.setup.server.pump(Duration::ZERO)?;
        connecting.abort();
        Ok(up)
    }

    fn unknown(&mut self, why: String) -> Attempt {
        let mut round = RestartRound::new(self.setup.way, self.number, RestartOutcome::Unknown);
        round.notes = std::mem::take(&mut self.notes);
        round.notes.push(why);
        Attempt::Round(Box::new(round))
    }

    fn no_start(&mut self, why: &WhyNot) -> Result<RestartRound> {
        self.setup.server.pump(Duration::ZERO)?;
        let mut round = RestartRound::new(self.setup.way, self.number, RestartOutcome::Unknown);
        round.diagnosis = self.setup.server.diagnosis().cloned().map(Box::new);
        round.failed_binds = self.setup.server.failed_calls();
        round.notes = vec![format!(
            "the first start did not serve: {}",
            self.say_why_not(why)
        )];
        Ok(round)
    }

    fn say_why_not(&self, why: &WhyNot) -> String {
        let said = self
            .setup
            .server
            .last_lines()
            .map(|lines| format!("; it printed last: {lines}"))
            .unwrap_or_default();
        let port = self.setup.plan.port;
        match why {
            WhyNot::Ended(how) => format!("it ended {how}{said}"),
            WhyNot::Timeout => format!(
                "it does not serve on port {port} after {} s{said}",
                self.setup.plan.timeout.as_secs_f64()
            ),
            WhyNot::Background => {
                "it went to the background: have it run in the foreground".to_owned()
            }
        }
    }

    /// What a bind like the first one would meet now.
    fn likely(&self, options: &ListenerOptions) -> Result<Option<crate::event::Diagnosis>> {
        options::ask(self.setup.plan.port, options).map(restart_test::likely)
    }
}

/// What came of a start.
struct Up {
    at_ns: Option<u64>,
    refused: u64,
    reset: u64,
    why_not: WhyNot,
}

/// Why a start does not serve.
enum WhyNot {
    Ended(String),
    Timeout,
    Background,
}

impl WhyNot {
    fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

/// Clients that try to connect.
struct Connecting {
    addr: std::net::SocketAddr,
    old_listeners: Vec<u64>,
    tries: Vec<Client>,
    tried_ns: u64,
    is_accepted: bool,
}

impl Connecting {
    fn new(addr: std::net::SocketAddr, old_listeners: Vec<u64>) -> Self {
        Self {
            addr,
            old_listeners,
            tries: Vec::new(),
            tried_ns: 0,
            is_accepted: false,
        }
    }

    fn advance(&mut self, setup: &mut Setup<'_>, up: &mut Up) -> Result<()> {
        if !self.is_accepted && self.tries.len() < MAX_TRIES && since(self.tried_ns) >= TRY_EVERY {
            self.tried_ns = clock::monotonic_ns();
            self.tries.push(Client::begin(self.addr, &mut setup.ports)?);
        }
        let mut kept = Vec::new();
        let open = setup.open_sockets();
        for mut client in std::mem::take(&mut self.tries) {
            client.advance();
            match client.state {
                Connection::Refused => up.refused += 1,
                Connection::Reset => up.reset += 1,
                _ => {
                    if !self.is_accepted {
                        self.is_accepted =
                            setup.is_accepted(&client, &open, &self.old_listeners)?;
                    }
                    // One that the stopped server's successor has closed says nothing any more.
                    if client.state != Connection::ClosedByServer {
                        kept.push(client);
                    }
                }
            }
        }
        self.tries = kept;
        Ok(())
    }

    fn abort(self) {
        self.tries.into_iter().for_each(Client::abort);
    }
}

fn ms_since(began_ns: u64) -> u64 {
    clock::monotonic_ns().saturating_sub(began_ns) / NS_PER_MS
}
