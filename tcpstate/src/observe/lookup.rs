//! Finds out who has sockets open, in a thread of its own: it takes a pass over all
//! descriptors of the host, which whoever has an account can make as long as he likes.
//!
//! One pass answers for all who ask before it begins. The thread that takes events waits
//! for an answer as long as it may, and goes on without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::event::{Process, Unread};
use crate::pace::Pace;
use crate::snapshot::open_sockets::Descriptors;
use crate::snapshot::owners::{self, Holders, Index};

/// Questions that wait at one time.
const MAX_ASKED: usize = 64;
/// Longest time that one pass takes.
const MAX_PASS_NS: u64 = 5_000_000_000;
/// A pass this short is followed by the next at once, a longer one by as much time as it
/// took, so that passes take half a processor at most.
const SHORT_NS: u64 = 20_000_000;
/// An answer this old will do where the question may be answered from before.
pub(crate) const FRESH_NS: u64 = 250_000_000;

/// Without an answer for so long the thread hangs in what it reads of a process, which
/// somebody can make it do, and another one takes its place.
const HANGS_AFTER_NS: u64 = 3 * MAX_PASS_NS;
/// What no list of descriptors shows is looked for so often, and for so long.
const UNDISCLOSED_EVERY_NS: u64 = 1_000_000_000;
const UNDISCLOSED_NS: u64 = 50_000_000;
/// Threads that may hang so.
const MAX_HANGING: u32 = 8;

/// A question.
#[derive(Debug)]
pub(crate) struct Question {
    /// Sockets.
    pub(crate) inodes: BTreeSet<u64>,
    /// Processes that are to be among those that are read.
    pub(crate) openers: BTreeSet<u32>,
    /// A pass that began after this answers it.
    pub(crate) after_ns: u64,
    /// Where all sockets are known, a pass of a moment ago answers it as well.
    pub(crate) may_be_older: bool,
    /// Only the first process of each socket is asked for, as far as they can be read
    /// until then.
    pub(crate) first_until_ns: Option<u64>,
    /// Who has them elsewhere than among descriptors: nobody was found there.
    pub(crate) is_undisclosed: bool,
}

/// Who has the sockets of a question open.
#[derive(Debug)]
pub(crate) enum Found {
    /// All of them; why they may be elsewhere.
    All {
        found: BTreeMap<u64, Holders>,
        unread: Option<Unread>,
    },
    /// Of each socket the process with the lowest pid.
    First(BTreeMap<u64, Arc<Process>>),
    /// They could not be found in the longest time that a pass may take.
    Nothing,
}

struct Asked {
    id: u64,
    question: Question,
    descriptors: Option<Descriptors>,
}

/// The thread, as the one that asks sees it.
#[derive(Debug)]
pub(crate) struct Lookup {
    thread: Thread,
    next_id: u64,
    outstanding: usize,
    /// When nothing was outstanding, or something was answered.
    heard_ns: u64,
    hanging: u32,
    /// Questions before this one are not answered any more: their thread hangs.
    given_up_before: u64,
    /// Answers that came while another one was waited for.
    early: Vec<(u64, Found)>,
}

#[derive(Debug)]
struct Thread {
    /// `None`: it could not be started.
    to: Option<SyncSender<Asked>>,
    from: Receiver<(u64, Found)>,
    /// What the last pass took of a processor.
    pass_ns: Arc<AtomicU64>,
}

impl Thread {
    fn start() -> Self {
        let (to, questions) = sync_channel(MAX_ASKED);
        let (answers, from) = channel();
        let pass_ns = Arc::new(AtomicU64::new(0));
        let cost_ns = Arc::clone(&pass_ns);
        let thread = thread::Builder::new()
            .name("lookup".to_owned())
            .spawn(move || answer_all(&questions, &answers, &cost_ns));
        Self {
            to: thread.is_ok().then_some(to),
            from,
            pass_ns,
        }
    }
}

impl Lookup {
    pub(crate) fn start() -> Self {
        Self {
            thread: Thread::start(),
            next_id: 0,
            outstanding: 0,
            heard_ns: 0,
            hanging: 0,
            given_up_before: 0,
            early: Vec::new(),
        }
    }

    /// What the last pass took of a processor: about what the next one takes.
    pub(crate) fn pass_ns(&self) -> u64 {
        self.thread.pass_ns.load(Ordering::Relaxed)
    }

    /// Asks. `None`: too many questions wait already.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        descriptors: Option<Descriptors>,
    ) -> Option<u64> {
        let now_ns = clock::monotonic_ns();
        if self.outstanding == 0 {
            self.heard_ns = now_ns;
        } else if now_ns.saturating_sub(self.heard_ns) > HANGS_AFTER_NS {
            self.replace_thread(now_ns);
        }
        let id = self.next_id;
        let asked = Asked {
            id,
            question,
            descriptors,
        };
        if self.outstanding >= MAX_ASKED || self.thread.to.as_ref()?.try_send(asked).is_err() {
            return None;
        }
        self.next_id += 1;
        self.outstanding += 1;
        Some(id)
    }

    /// Whether an answer may still come.
    pub(crate) fn may_answer(&self, id: u64) -> bool {
        id >= self.given_up_before
    }

    fn replace_thread(&mut self, now_ns: u64) {
        if self.hanging < MAX_HANGING {
            self.hanging += 1;
            self.thread = Thread::start();
            self.given_up_before = self.next_id;
            self.outstanding = 0;
            self.heard_ns = now_ns;
        }
    }

    /// Waits for an answer until then, at most.
    pub(crate) fn wait(&mut self, id: u64, until_ns: u64) -> Option<Found> {
        loop {
            let left_ns = until_ns.saturating_sub(clock::monotonic_ns());
            match self.thread.from.recv_timeout(Duration::from_nanos(left_ns)) {
                Ok((answered, found)) => {
                    self.note_answer();
                    if answered == id {
                        return Some(found);
                    }
                    self.early.push((answered, found));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// An answer that nobody waits for any more.
    pub(crate) fn take(&mut self) -> Option<(u64, Found)> {
        self.early.pop().or_else(|| {
            let answer = self.thread.from.try_recv().ok()?;
            self.note_answer();
            Some(answer)
        })
    }

    fn note_answer(&mut self) {
        self.outstanding -= 1;
        self.heard_ns = clock::monotonic_ns();
    }
}

/// Answers until nobody asks any more.
fn answer_all(
    questions: &Receiver<Asked>,
    answers: &Sender<(u64, Found)>,
    pass_cost_ns: &AtomicU64,
) {
    let mut waiting: Vec<Asked> = Vec::new();
    let mut index: Option<Index> = None;
    let mut pace = Pace::default();
    let mut undisclosed = Undisclosed::default();
    loop {
        let asked = match questions.recv_timeout(Duration::from_nanos(FRESH_NS)) {
            // What is known is forgotten once it is too old: it may be large.
            Err(RecvTimeoutError::Timeout) => {
                index = None;
                questions.recv().ok()
            }
            asked => asked.ok(),
        };
        let Some(asked) = asked else { return };
        waiting.push(asked);
        waiting.extend(questions.try_iter());
        waiting.retain(|Asked { id, question, .. }| {
            let found = if question.is_undisclosed {
                Some(undisclosed.answer(&question.inodes))
            } else {
                let index = index.as_ref();
                let index = index.filter(|index| answers_it(index, question));
                index.map(|index| answer(index, question))
            };
            let is_answered = found.is_some();
            if let Some(found) = found {
                let _ = answers.send((*id, found));
            }
            !is_answered
        });
        if waiting.is_empty() {
            continue;
        }
        let rest_ns = pace.left_ns(clock::monotonic_ns());
        thread::sleep(Duration::from_nanos(rest_ns));
        waiting.extend(questions.try_iter());
        let descriptors = waiting
            .iter_mut()
            .rev()
            .find_map(|one| one.descriptors.take());
        let began_ns = clock::monotonic_ns();
        let began_cpu_ns = clock::processor_ns();
        index = Index::read(descriptors, began_ns.saturating_add(MAX_PASS_NS));
        let cost_ns = clock::processor_ns().saturating_sub(began_cpu_ns);
        pass_cost_ns.store(cost_ns, Ordering::Relaxed);
        let rest_ns = if cost_ns > SHORT_NS { cost_ns } else { 0 };
        pace.pause(clock::monotonic_ns(), rest_ns);
        // All of them were asked before it began.
        for Asked { id, question, .. } in waiting.drain(..) {
            let found = match &index {
                _ if question.is_undisclosed => undisclosed.answer(&question.inodes),
                Some(index) => answer(index, &question),
                None => Found::Nothing,
            };
            let _ = answers.send((id, found));
        }
    }
}

fn answers_it(index: &Index, question: &Question) -> bool {
    let is_fresh = || {
        clock::monotonic_ns().saturating_sub(index.began_ns) < FRESH_NS
            && index.knows(&question.inodes)
    };
    index.began_ns >= question.after_ns || (question.may_be_older && is_fresh())
}

fn answer(index: &Index, question: &Question) -> Found {
    match question.first_until_ns {
        None => Found::All {
            found: index.holders(&question.inodes, &question.openers),
            unread: None,
        },
        Some(until_ns) => Found::First(index.first_holders(&question.inodes, until_ns)),
    }
}

/// How often what no list of descriptors shows is looked for.
#[derive(Debug, Default)]
struct Undisclosed {
    pace: Pace,
}

impl Undisclosed {
    /// It takes a pass of its own, which no list of descriptors stands for.
    fn answer(&mut self, inodes: &BTreeSet<u64>) -> Found {
        let mut found = BTreeMap::new();
        let now_ns = clock::monotonic_ns();
        let is_time = self.pace.take(now_ns, UNDISCLOSED_EVERY_NS);
        let until_ns = now_ns.saturating_add(UNDISCLOSED_NS);
        let is_whole = is_time && owners::find_undisclosed(&mut found, inodes, until_ns);
        let unread = if found.is_empty() && owners::are_some_denied() {
            Some(Unread::Denied)
        } else {
            (!is_whole).then_some(Unread::Undisclosed)
        };
        Found::All { found, unread }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn of(inodes: &[u64], after_ns: u64) -> Question {
        Question {
            inodes: inodes.iter().copied().collect(),
            openers: BTreeSet::new(),
            after_ns,
            may_be_older: false,
            first_until_ns: None,
            is_undisclosed: false,
        }
    }

    fn own_socket() -> (std::net::UdpSocket, u64) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let link = link.to_string_lossy().into_owned();
        let inode = link.trim_start_matches("socket:[").trim_end_matches(']');
        (socket, inode.parse().unwrap())
    }

    fn soon() -> u64 {
        clock::monotonic_ns() + 20_000_000_000
    }

    #[test]
    fn who_asks_is_answered_and_who_does_not_wait_finds_the_answer_later() {
        let (_socket, inode) = own_socket();
        let mut lookup = Lookup::start();

        let first = lookup.ask(of(&[inode], 0), None).unwrap();
        let second = lookup.ask(of(&[inode], 0), None).unwrap();
        let Some(Found::All { found, .. }) = lookup.wait(second, soon()) else {
            panic!("no answer");
        };

        assert_eq!(found[&inode].processes[0].pid, std::process::id());
        let (id, Found::All { found, .. }) = lookup.take().unwrap() else {
            panic!("another answer");
        };
        assert_eq!(id, first);
        assert!(found.contains_key(&inode));
        assert_eq!(lookup.outstanding, 0);
    }

    #[test]
    fn nobody_is_kept_waiting_for_an_answer() {
        let mut lookup = Lookup::start();
        let id = lookup.ask(of(&[1], u64::MAX), None).unwrap();

        assert!(lookup.wait(id, clock::monotonic_ns()).is_none());
    }

    #[test]
    fn of_too_many_questions_the_last_are_refused() {
        let mut lookup = Lookup::start();
        // No pass begins after that.
        let asked = (0..200).filter_map(|_| lookup.ask(of(&[1], u64::MAX), None));

        assert_eq!(asked.count(), MAX_ASKED);
    }

    #[test]
    fn a_pass_of_a_moment_ago_answers_only_who_allows_it_about_what_it_knows() {
        let (_socket, inode) = own_socket();
        let index = Index::read(None, u64::MAX).unwrap();
        let later = index.began_ns + 1;
        let older = |inodes: &[u64]| Question {
            may_be_older: true,
            ..of(inodes, later)
        };

        assert!(answers_it(&index, &of(&[inode], index.began_ns)));
        assert!(!answers_it(&index, &of(&[inode], later)));
        assert!(answers_it(&index, &older(&[inode])));
        assert!(!answers_it(&index, &older(&[inode, u64::MAX])));
    }
}
