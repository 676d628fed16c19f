//! One restart: start, connections in the state that the way says, stop, start, and what came
//! of it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::client::{Client, Connection, Ports};
use super::look::{self, Look};
use super::options::{self, Options};
use super::ready::Readiness;
use super::server::{self, Program, Server};
use super::stage::{Clients, Staged};
use crate::cli::Ready;
use crate::clock;
use crate::diagnosis::restart_test::{self, Measured};
use crate::event::{LeftSockets, RestartOutcome, RestartRound, State, Way};
use crate::model::NS_PER_MS;
use crate::supervise::signals::Signals;

/// How often something is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1);
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
/// What is left of a round is told to end, and killed after so long.
const END_GRACE: Duration = Duration::from_secs(1);

/// What is tested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub(super) program: Program<'a>,
    pub(super) port: u16,
    pub(super) clients: u16,
    pub(super) ready: &'a Ready,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
}

/// What came of a round.
#[derive(Debug)]
pub(super) enum Tried {
    /// A restart.
    Round(Box<RestartRound>),
    /// This server cannot be stopped in this way.
    Skipped(String),
    /// It did not even start the first time; another round would not either.
    NoStart(Box<RestartRound>),
    /// It has read what was not to be read before it ended.
    ReadBeforeEnd,
}

/// What a round has at hand.
pub(super) struct Round<'a> {
    pub(super) plan: Plan<'a>,
    pub(super) way: Way,
    number: u32,
    /// The server is killed where it would read before it ends.
    is_killed_unread: bool,
    pub(super) server: Server<'a>,
    pub(super) look: Look,
    pub(super) ports: Ports,
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
) -> Result<Tried> {
    let mut round = Round {
        plan,
        way,
        number,
        is_killed_unread,
        server: Server::new(plan.program, signals)?,
        look: Look::new(plan.port)?,
        ports: Ports::new(plan.port),
        notes: Vec::new(),
    };
    let mut clients = Clients::default();
    let tried = round.go(&mut clients);
    if let Some(why) = &round.server.unsupervised {
        let note = format!(
            "failed binds could not be seen, so that they are not counted and a cause is likely \
             at best: {why}"
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let Round {
        server, mut look, ..
    } = round;
    // Told first: it may have something to clean up.
    server.end(END_GRACE.min(plan.grace))?;
    clients.leave_nothing(&mut look)?;
    tried
}

impl Round<'_> {
    fn go(&mut self, clients: &mut Clients) -> Result<Tried> {
        let start_ns = clock::monotonic_ns();
        self.server.start()?;
        let addr = match self.first_start(start_ns)? {
            Ok(addr) => addr,
            Err(why) => return Ok(Tried::NoStart(Box::new(self.no_start(&why)?))),
        };
        let first_start_ms = ms_since(start_ns);
        let first_failed_binds = self.server.failed_calls().unwrap_or(0);
        let options = options::of_listener(&self.server, &mut self.look)?;
        self.settle()?;
        if self.server.ended().is_some() {
            let why = self.why_ended();
            return Ok(Tried::NoStart(Box::new(self.no_start(&why)?)));
        }
        match clients.stage(self, addr)? {
            Staged::Yes => {}
            Staged::No(why) => return Ok(self.unknown(why)),
            Staged::NotApplicable(why) => return Ok(Tried::Skipped(why)),
        }
        self.server.let_go()?;
        if let Some(status) = self.server.ended() {
            let how = server::describe(status);
            return Ok(self.unknown(format!("it ended {how} before it was stopped")));
        }
        let stop_ns = clock::monotonic_ns();
        if !self.stop(clients, stop_ns)? {
            return Ok(self.unknown(format!(
                "it could not be stopped within {} s, not even by SIGKILL",
                self.plan.timeout.as_secs()
            )));
        }
        let sockets = self.look.sockets()?;
        let left = look::count(&sockets);
        if let Some(why) = clients.not_reached(self.way, &left) {
            if self.way == Way::UnreadData && !self.is_killed_unread {
                return Ok(Tried::ReadBeforeEnd);
            }
            return Ok(self.unknown(why));
        }
        let old_listeners: Vec<u64> = sockets
            .iter()
            .filter(|item| item.state == State::Listen)
            .map(|item| item.sock.cookie)
            .collect();
        let start_ns = clock::monotonic_ns();
        self.server.start()?;
        let up = self.restart(start_ns, Connecting::new(addr, old_listeners), clients)?;
        let now_ns = up.up_ns.unwrap_or_else(clock::monotonic_ns);
        let start_ms = up
            .up_ns
            .map(|_| now_ns.saturating_sub(start_ns) / NS_PER_MS);
        let failed_binds = self.server.failed_calls();
        let failed_binds = failed_binds.map(|all| all.saturating_sub(first_failed_binds));
        let outcome = restart_test::outcome(Measured {
            first_start_ms,
            start_ms,
            first_failed_binds,
            failed_binds: failed_binds.unwrap_or(0),
        });
        let mut round = RestartRound::new(self.way, self.number, outcome);
        round.downtime_ms = up.up_ns.map(|_| now_ns.saturating_sub(stop_ns) / NS_PER_MS);
        round.start_ms = start_ms;
        round.first_start_ms = Some(first_start_ms);
        round.refused = up.refused;
        round.reset = up.reset + clients.count_reset();
        round.failed_binds = failed_binds;
        round.left = left;
        round.leftover = self.server.left();
        if outcome != RestartOutcome::AtOnce {
            round.diagnosis = self.server.diagnosis().cloned().map(Box::new);
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
        Ok(Tried::Round(Box::new(round)))
    }

    /// Waits until the first start serves, and gives where. An error: why it does not.
    fn first_start(&mut self, start_ns: u64) -> Result<Result<std::net::SocketAddr, WhyNot>> {
        let mut readiness = Readiness::new(self.plan.ready);
        loop {
            self.server.pump(LOOK_EVERY)?;
            if self.server.ended().is_some() {
                return Ok(Err(self.why_ended()));
            }
            if let Some(addr) = Readiness::listens(&self.server, &mut self.look)?
                && readiness.is_ready(&self.server, addr, &mut self.ports)?
            {
                return Ok(Ok(addr));
            }
            if since(start_ns) >= self.plan.timeout {
                return Ok(Err(WhyNot::Timeout));
            }
        }
    }

    /// Lets the first process of a server end that goes to the background.
    fn settle(&mut self) -> Result<()> {
        let ready_ns = clock::monotonic_ns();
        while self.server.ended().is_none() && since(ready_ns) < GOES_TO_BACKGROUND {
            self.server.pump(LOOK_EVERY)?;
        }
        Ok(())
    }

    /// Why a start that has ended does not serve.
    fn why_ended(&self) -> WhyNot {
        match self.server.ended() {
            Some(status) if self.server.processes().is_empty() => {
                WhyNot::Ended(server::describe(status))
            }
            _ => WhyNot::Background,
        }
    }

    /// Stops it as the way says. `false`: it could not be stopped.
    fn stop(&mut self, clients: &mut Clients, stop_ns: u64) -> Result<bool> {
        match self.way {
            Way::Sigkill => Server::signal_all(Signal::KILL),
            Way::UnreadData if self.is_killed_unread => Server::signal_all(Signal::KILL),
            Way::ChildLeft => self.server.signal_main(Signal::KILL),
            _ => self.server.signal_main(Signal::TERM),
        }
        if self.way == Way::UnreadData {
            // It was held still until now.
            Server::signal_all(Signal::CONT);
        }
        let mut is_killed = false;
        while self.server.ended().is_none() {
            self.server.pump(LOOK_EVERY)?;
            clients.advance(self.way);
            if since(stop_ns) >= self.plan.grace && !is_killed {
                is_killed = true;
                self.server.signal_main(Signal::KILL);
                self.notes.push(format!(
                    "it did not end within {} s after SIGTERM, and was killed",
                    self.plan.grace.as_secs_f64()
                ));
            }
            if since(stop_ns) >= self.plan.grace.saturating_add(self.plan.timeout) {
                return Ok(false);
            }
        }
        let ended_ns = clock::monotonic_ns();
        loop {
            clients.advance(self.way);
            let settles = if self.server.processes().is_empty() {
                SETTLES
            } else {
                SETTLES_BESIDE_OTHERS
            };
            if !clients.are_any_open() || since(ended_ns) >= settles {
                return Ok(true);
            }
            self.server.pump(LOOK_EVERY)?;
        }
    }

    /// Waits until the restarted server serves; clients try to connect meanwhile.
    fn restart(
        &mut self,
        start_ns: u64,
        mut connecting: Connecting,
        clients: &mut Clients,
    ) -> Result<Up> {
        let mut readiness = Readiness::new(self.plan.ready);
        let mut up = Up {
            up_ns: None,
            refused: 0,
            reset: 0,
            why_not: WhyNot::Timeout,
        };
        loop {
            self.server.pump(LOOK_EVERY)?;
            clients.advance(self.way);
            connecting.advance(self, &mut up)?;
            if connecting.is_accepted
                && readiness.is_ready(&self.server, connecting.addr, &mut self.ports)?
            {
                up.up_ns = Some(clock::monotonic_ns());
                break;
            }
            if let Some(status) = self.server.ended()
                && self.server.processes().is_empty()
            {
                up.why_not = WhyNot::Ended(server::describe(status));
                break;
            }
            if since(start_ns) >= self.plan.timeout {
                break;
            }
        }
        // What has been explained a moment ago.
        self.server.pump(Duration::ZERO)?;
        connecting.abort();
        Ok(up)
    }

    /// Whether the server's processes have taken a connection. `old_listeners`: those that
    /// another one may have taken it from.
    pub(super) fn is_accepted(&mut self, client: &Client, old_listeners: &[u64]) -> Result<bool> {
        if matches!(
            client.state,
            Connection::Connecting | Connection::Refused | Connection::Reset
        ) {
            return Ok(false);
        }
        let end = self.look.servers_end(client.local, client.server)?;
        if let Some(inode) = end.and_then(|end| end.inode) {
            let open = crate::supervise::tree::open_sockets_of(&self.server.processes());
            return Ok(open.contains(&inode));
        }
        // It has no file yet, or none any more.
        let has_answered = client.has_got_data || client.state == Connection::ClosedByServer;
        if !has_answered || old_listeners.is_empty() {
            return Ok(has_answered);
        }
        let sockets = self.look.sockets()?;
        let is_old = |cookie: &u64| {
            sockets
                .iter()
                .any(|item| item.state == State::Listen && item.sock.cookie == *cookie)
        };
        Ok(!old_listeners.iter().any(is_old))
    }

    fn unknown(&mut self, why: String) -> Tried {
        let mut round = RestartRound::new(self.way, self.number, RestartOutcome::Unknown);
        round.notes = std::mem::take(&mut self.notes);
        round.notes.push(why);
        Tried::Round(Box::new(round))
    }

    fn no_start(&mut self, why: &WhyNot) -> Result<RestartRound> {
        self.server.pump(Duration::ZERO)?;
        let mut round = RestartRound::new(self.way, self.number, RestartOutcome::Unknown);
        round.diagnosis = self.server.diagnosis().cloned().map(Box::new);
        round.failed_binds = self.server.failed_calls();
        round.notes = vec![format!(
            "the first start did not serve: {}",
            self.say_why_not(why)
        )];
        Ok(round)
    }

    fn say_why_not(&self, why: &WhyNot) -> String {
        let said = self
            .server
            .last_lines()
            .map(|lines| format!("; it printed last: {lines}"))
            .unwrap_or_default();
        let port = self.plan.port;
        match why {
            WhyNot::Ended(how) => format!("it ended {how}{said}"),
            WhyNot::Timeout => format!(
                "it does not serve on port {port} after {} s{said}",
                self.plan.timeout.as_secs_f64()
            ),
            WhyNot::Background => {
                "it went to the background: have it run in the foreground".to_owned()
            }
        }
    }

    /// What a bind like the first one would meet now.
    fn likely(&self, options: &Options) -> Result<Option<crate::event::Diagnosis>> {
        options::ask(self.plan.port, options).map(restart_test::likely)
    }
}

/// What came of a start.
struct Up {
    up_ns: Option<u64>,
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

    fn advance(&mut self, round: &mut Round<'_>, up: &mut Up) -> Result<()> {
        if !self.is_accepted && self.tries.len() < MAX_TRIES && since(self.tried_ns) >= TRY_EVERY {
            self.tried_ns = clock::monotonic_ns();
            self.tries.push(Client::begin(self.addr, &mut round.ports)?);
        }
        let mut kept = Vec::new();
        for mut client in std::mem::take(&mut self.tries) {
            client.advance();
            match client.state {
                Connection::Refused => up.refused += 1,
                Connection::Reset => up.reset += 1,
                _ => {
                    if !self.is_accepted {
                        self.is_accepted = round.is_accepted(&client, &self.old_listeners)?;
                    }
                    // One that the stopped server's heir has closed tells nothing any more.
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

pub(super) fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns))
}

fn ms_since(began_ns: u64) -> u64 {
    clock::monotonic_ns().saturating_sub(began_ns) / NS_PER_MS
}

/// How many sockets of these are in a state.
pub(super) fn in_state(left: &[LeftSockets], state: State) -> u32 {
    let found = left.iter().find(|left| left.state == state);
    found.map_or(0, |left| left.count)
}
