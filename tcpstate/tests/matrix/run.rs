//! Runs cases: sets the stage, makes the call, repeats it with each option
//! more, and has the program's words judged once they are there.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use rustix::io::Errno;
use tcpstate::clock;

use super::ask::{Ask, Attempt, Change};
use super::feed::Feed;
use super::judge::{self, Trial};
use super::options;
use super::oracle::{self, Expected, Refused};
use super::report::Report;
use super::servers::Servers;
use super::stage::{Holder, Part, Stage};

/// Sockets whose words may be outstanding: the program is given time, and the
/// kernel does not wait for it.
const MAX_OUTSTANDING: usize = 48;
/// The stages' ports: below those of the clients.
const FIRST_PORT: u16 = 2_000;
const LAST_PORT: u16 = 60_999;

/// Calls for no port of their own are refused in one and the same way; the program
/// explains ten such in a second and counts the others.
const ALIKE_AT_MOST: usize = 9;
const ALIKE_WITHIN_NS: u64 = 1_050_000_000;

/// Of one user's refused calls the program explains a thousand at once and then a hundred
/// a second, and counts the others.
const REFUSED_AT_ONCE: u64 = 500;
const REFUSED_EACH_NS: u64 = 12_500_000;

/// Old sockets, and what a new one asks for.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) parts: Vec<Part>,
    pub(crate) ask: Ask,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            write!(f, "nothing")?;
        }
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                write!(f, " & ")?;
            }
            write!(f, "{part}")?;
        }
        write!(f, " | {}", self.ask)
    }
}

/// Ports that no case has used, so that nothing of one case is in the way of
/// another.
#[derive(Debug)]
pub(crate) struct Ports {
    next: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { next: FIRST_PORT }
    }
}

impl Ports {
    pub(crate) fn next(&mut self) -> u16 {
        assert!(self.next <= LAST_PORT, "the matrix is out of ports");
        self.next += 1;
        self.next - 1
    }

    /// The stage of a case, on a port of its own.
    pub(crate) fn stage(&mut self, servers: &Servers, case: &Case) -> (u16, Stage) {
        let port = self.next();
        (port, Stage::build(servers, port, &case.parts))
    }
}

/// The kernel's side of a run, and the program's.
pub(crate) struct Runner {
    pub(crate) servers: Servers,
    pub(crate) report: Report,
    feed: Feed,
    pub(crate) ports: Ports,
    outstanding: VecDeque<Trial>,
    /// Whether one part alone stands in the way of a new socket.
    alone: HashMap<(Part, Ask), bool>,
    /// Whether the range of ports to choose from is the namespace's alone.
    has_one_range: bool,
    /// When calls were made that are refused in the same way, by call and family.
    alike: HashMap<(&'static str, bool), VecDeque<u64>>,
    /// Calls that were refused since the start.
    refused: u64,
    began_ns: u64,
}

impl Runner {
    pub(crate) fn start() -> Self {
        Self {
            feed: Feed::start(),
            servers: Servers::start(),
            report: Report::default(),
            ports: Ports::default(),
            outstanding: VecDeque::new(),
            alone: HashMap::new(),
            has_one_range: !options::sockets_have_ranges(),
            alike: HashMap::new(),
            refused: 0,
            began_ns: clock::monotonic_ns(),
        }
    }

    /// To be called before a call that is refused as others are.
    pub(crate) fn pace(&mut self, call: &'static str, is_ipv6: bool) {
        let made = self.alike.entry((call, is_ipv6)).or_default();
        if made.len() >= ALIKE_AT_MOST
            && let Some(first_ns) = made.pop_front()
        {
            let since_ns = clock::monotonic_ns().saturating_sub(first_ns);
            std::thread::sleep(Duration::from_nanos(
                ALIKE_WITHIN_NS.saturating_sub(since_ns),
            ));
        }
        made.push_back(clock::monotonic_ns());
    }

    /// One case, and the same call with each option more.
    pub(crate) fn run(&mut self, case: &Case) {
        self.report.cases += 1;
        let (port, mut stage) = self.ports.stage(&self.servers, case);
        let mut attempt = case.ask.attempt(&mut stage, port);
        let expected = self.expect(case, case.ask, &stage, &attempt);
        attempt.expect(expected);
        if let Some((call, _)) = attempt.refusal() {
            let worked = self.repeat(case, call == "listen", stage, port);
            if let Some(expected) = attempt.last_expected() {
                expected.would_work = Some(worked);
            }
        }
        self.submit(case.to_string(), attempt);
    }

    /// Makes the refused call again with each option more: which of them let
    /// it through. What was refused has changed nothing; what was let through
    /// leaves its mark on the port, so that the stage is set anew.
    fn repeat(
        &mut self,
        case: &Case,
        is_listen: bool,
        mut stage: Stage,
        mut port: u16,
    ) -> [bool; 3] {
        Change::ALL.map(|change| {
            let ask = case.ask;
            if !ask.can(change) {
                return false;
            }
            if is_listen && change != Change::V6only {
                return self.repeat_listen(case, change);
            }
            let Some(with) = ask.with(change) else {
                return false;
            };
            if is_listen {
                (port, stage) = self.ports.stage(&self.servers, case);
            }
            let mut again = with.attempt(&mut stage, port);
            let expected = self.expect(case, with, &stage, &again);
            again.expect(expected);
            let worked = again.refusal().is_none();
            let is_bound = again.calls[0].errno.is_none();
            self.submit(format!("{case}, with {}", change.name()), again);
            if is_bound {
                (port, stage) = self.ports.stage(&self.servers, case);
            }
            worked
        })
    }

    /// The same socket listens again.
    fn repeat_listen(&mut self, case: &Case, change: Change) -> bool {
        let (port, mut stage) = self.ports.stage(&self.servers, case);
        let mut attempt = case.ask.attempt(&mut stage, port);
        let expected = self.expect(case, case.ask, &stage, &attempt);
        attempt.expect(expected);
        let worked = case
            .ask
            .listen_again(&mut attempt, change)
            .unwrap_or_default();
        self.submit(format!("{case}, with {}", change.name()), attempt);
        worked
    }

    /// Waits until the program has spoken about a socket's calls.
    pub(crate) fn settle(&mut self, attempt: &Attempt) {
        self.feed.wait_for(attempt.cookie, attempt.calls.len());
    }

    /// Puts up a socket's calls for judgement.
    pub(crate) fn submit(&mut self, name: String, attempt: Attempt) {
        let Attempt {
            cookie,
            socket: _,
            calls,
        } = attempt;
        self.report.calls += calls.len();
        self.refused += calls.iter().filter(|made| made.errno.is_some()).count() as u64;
        let due_ns = self.refused.saturating_sub(REFUSED_AT_ONCE) * REFUSED_EACH_NS;
        let since_ns = clock::monotonic_ns().saturating_sub(self.began_ns);
        std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(since_ns)));
        self.outstanding.push_back(Trial {
            name,
            cookie,
            calls,
        });
        if self.outstanding.len() > MAX_OUTSTANDING {
            self.judge_one();
        }
    }

    /// After a loss, which the program has counted and told, the cases that went
    /// wrong meanwhile do not count: gives their names, for another run.
    pub(crate) fn spoilt_by_losses(&mut self) -> Vec<String> {
        self.judge_all();
        if self.feed.lost == 0 {
            return Vec::new();
        }
        self.feed.wait_until_right();
        let wrong = std::mem::take(&mut self.report.wrong);
        wrong.into_iter().map(|(name, _)| name).collect()
    }

    /// Waits for all words, ends the program, and gives the counts.
    pub(crate) fn finish(mut self) -> Report {
        self.judge_all();
        let Self {
            mut report, feed, ..
        } = self;
        let feed = feed.finish();
        let (failed, diagnoses) = feed.counts;
        let mut troubles = feed.troubles.clone();
        if failed != diagnoses {
            troubles.push(format!("{failed} calls failed, {diagnoses} were explained"));
        }
        if !troubles.is_empty() {
            report.wrong.push(("the whole run".to_owned(), troubles));
        }
        report
    }

    pub(crate) fn judge_all(&mut self) {
        while !self.outstanding.is_empty() {
            self.judge_one();
        }
    }

    fn judge_one(&mut self) {
        let Some(trial) = self.outstanding.pop_front() else {
            return;
        };
        let heard = self.feed.take(trial.cookie, trial.calls.len());
        for diagnosis in heard.iter().filter_map(|heard| heard.diagnosis.as_ref()) {
            self.report.count(diagnosis);
        }
        let wrong = judge::complaints(&trial, &heard);
        if !wrong.is_empty() {
            self.report.wrong.push((trial.name, wrong));
        }
    }

    /// What is to be said about the last call; `None`: it was let through, or
    /// its error is not one that this knows about.
    fn expect(
        &mut self,
        case: &Case,
        ask: Ask,
        stage: &Stage,
        attempt: &Attempt,
    ) -> Option<Expected> {
        // The next stage sets the range of ports that `connect` chooses from, of which
        // the words about a chosen one speak.
        if self.has_one_range && case.parts.iter().any(|part| part.side.is_chosen()) {
            self.settle(attempt);
        }
        let (call, errno) = attempt.refusal()?;
        if errno != Errno::ADDRINUSE {
            return None;
        }
        let blockers = self.blockers(case, ask, stage);
        let refused = Refused {
            call,
            addr: ask.addr.ip(),
            flags: ask.flags,
        };
        Some(oracle::expect(refused, &blockers))
    }

    /// Which sockets stood in the way: where there are several, the kernel is
    /// asked about each by itself.
    fn blockers(&mut self, case: &Case, ask: Ask, stage: &Stage) -> Vec<Holder> {
        let is_only_one = case.parts.len() == 1;
        stage
            .holders
            .iter()
            .filter(|(index, _)| is_only_one || self.is_refused_alone(case.parts[*index], ask))
            .map(|(_, holder)| holder.clone())
            .collect()
    }

    fn is_refused_alone(&mut self, part: Part, ask: Ask) -> bool {
        if let Some(is_refused) = self.alone.get(&(part, ask)) {
            return *is_refused;
        }
        let case = Case {
            parts: vec![part],
            ask,
        };
        let (port, mut stage) = self.ports.stage(&self.servers, &case);
        let mut attempt = ask.attempt(&mut stage, port);
        let expected = self.expect(&case, ask, &stage, &attempt);
        attempt.expect(expected);
        let is_refused = attempt.refusal().is_some();
        self.submit(case.to_string(), attempt);
        self.alone.insert((part, ask), is_refused);
        is_refused
    }
}
