//! Reads events ahead of one who takes them in order, on other threads: to make
//! an event out of its line costs more than to take it in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::available_parallelism;
use std::vec;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::index::Index;
use crate::event::Event;

/// Events that are taken in order before others are read ahead: a few steps are
/// not worth a thread.
const PATIENCE: usize = 64;
/// Threads that read, at most: one who takes events in needs no more.
const MAX_THREADS: usize = 4;
/// Runs of lines on their way for each thread.
const RUNS: usize = 2;

/// The threads that read; several can read ahead by them.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// `None`: none can be had, and nothing is read ahead.
    pool: Option<Arc<ThreadPool>>,
}

impl Threads {
    /// Starts them.
    #[must_use]
    pub fn start() -> Self {
        let count = available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
        let builder = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|number| format!("reader {number}"));
        let pool = builder.build().ok().map(Arc::new);
        Self { pool }
    }
}

/// Facts of a recording, in order and at once.
#[derive(Debug, Default)]
pub struct Ahead {
    threads: Threads,
    /// The event that is expected to be asked for.
    due: usize,
    /// How many were asked for in order.
    in_order: usize,
    /// Those from `due` on that are there.
    ready: vec::IntoIter<Option<Event>>,
    coming: VecDeque<Coming>,
    /// The first event that no thread was told to read.
    next: usize,
}

#[derive(Debug)]
struct Coming {
    first: usize,
    facts: Receiver<io::Result<Vec<Option<Event>>>>,
}

impl Ahead {
    /// Reads ahead by these threads.
    #[must_use]
    pub fn by(threads: &Threads) -> Self {
        Self {
            threads: threads.clone(),
            ..Self::default()
        }
    }

    /// Reads an event; `None`: an engine works it out anew, it cannot be read, or is
    /// of a later version.
    pub fn read_fact(&mut self, index: &mut Index, event: usize) -> io::Result<Option<Event>> {
        if event != self.due {
            self.begin_at(event);
        }
        self.due = event.saturating_add(1);
        if let Some(fact) = self.ready.next() {
            return Ok(fact);
        }
        self.in_order += 1;
        if self.in_order > PATIENCE {
            self.send_ahead(index, event);
            if self.coming.front().is_some_and(|run| run.first == event)
                && let Some(run) = self.coming.pop_front()
            {
                if let Ok(Ok(facts)) = run.facts.recv() {
                    self.ready = facts.into_iter();
                    return Ok(self.ready.next().flatten());
                }
                // Whoever reads it here is told what is wrong.
                self.begin_at(self.due);
            }
        }
        index.read_fact(event)
    }

    fn begin_at(&mut self, event: usize) {
        *self = Self {
            due: event,
            next: event,
            ..Self::by(&self.threads)
        };
    }

    fn send_ahead(&mut self, index: &Index, event: usize) {
        let Some(pool) = &self.threads.pool else {
            return;
        };
        self.next = self.next.max(event);
        while self.coming.len() < RUNS * pool.current_num_threads()
            && let Some(run) = index.run(self.next)
        {
            let (sender, facts) = mpsc::channel();
            self.coming.push_back(Coming {
                first: self.next,
                facts,
            });
            self.next += run.len();
            // Nobody may wait for it any more.
            pool.spawn(move || drop(sender.send(run.facts())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    /// Two parts with lines of all kinds, and more of them than one run has.
    fn recorded() -> (Vec<PathBuf>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = 0;
        let parts = ["a", "b"].map(|name| {
            let path = dir.path().join(name);
            let mut file = std::fs::File::create(&path).unwrap();
            for number in 0..12_000 {
                match number % 9_000 {
                    13 => writeln!(file, "nonsense").unwrap(),
                    17 => writeln!(file).unwrap(),
                    19 => writeln!(file, "{}", "x".repeat(2 * super::super::reader::MAX_LINE)).unwrap(),
                    _ => {}
                }
                let event = if number % 7 == 3 { "restart" } else { "tick" };
                let end = if number % 11 == 5 { "5" } else { "" };
                writeln!(
                    file,
                    "{{\"event\":\"{event}\",\"seq\":{seq},\"ts\":\"2026-11-21T10:00:00.000000000Z\",\"mono_ns\":{seq}{end}}}"
                )
                .unwrap();
                seq += 1;
            }
            path
        });
        (parts.to_vec(), dir)
    }

    fn index(paths: &[PathBuf]) -> Index {
        let mut index = Index::default();
        for path in paths {
            index.add(path).unwrap();
        }
        index
    }

    #[test]
    fn what_is_read_ahead_is_what_is_read_one_by_one() {
        let (paths, _dir) = recorded();
        let (mut index, mut other) = (index(&paths), index(&paths));
        assert_eq!(index.len(), 24_000);
        let mut ahead = Ahead::by(&Threads::start());
        let mut without = Ahead::default();
        let jumps = [
            0..24_000,
            500..1_500,
            500..520,
            11_900..12_200,
            7_000..24_003,
        ];
        let mut derived = 0;
        for event in jumps.into_iter().flatten() {
            let fact = ahead.read_fact(&mut index, event).unwrap();

            assert_eq!(fact, other.read_fact(event).unwrap(), "{event}");
            assert_eq!(
                fact,
                without.read_fact(&mut other, event).unwrap(),
                "{event}"
            );
            derived += usize::from(fact.is_none());
        }
        assert!(derived > 1_000);
        assert!(!ahead.coming.is_empty() || ahead.due > 24_000);
    }

    #[test]
    fn so_many_are_on_their_way_and_no_more() {
        let (paths, _dir) = recorded();
        let mut index = index(&paths);
        let threads = Threads::start();
        let most = RUNS * threads.pool.as_ref().unwrap().current_num_threads();
        let mut ahead = Ahead::by(&threads);
        let mut sent = 0;
        for event in 0..24_000 {
            ahead.read_fact(&mut index, event).unwrap();
            sent = sent.max(ahead.coming.len());
            assert!(ahead.coming.len() <= most);
            let is_ahead = ahead.next > event + 1;
            assert!(event != PATIENCE || is_ahead);
            assert!(event >= PATIENCE || !is_ahead, "{event}");
        }
        assert!(sent > 0);
    }

    #[test]
    fn of_a_file_that_became_shorter_what_is_there_is_read() {
        let (paths, _dir) = recorded();
        let mut index = index(&paths[..1]);
        let file = std::fs::File::options()
            .write(true)
            .open(&paths[0])
            .unwrap();
        file.set_len((2 << 20) + 500_000).unwrap();
        let mut ahead = Ahead::by(&Threads::start());

        let facts = (0..index.len()).map(|event| ahead.read_fact(&mut index, event).unwrap());
        let there = facts.flatten().count();

        assert!((3_000..6_000).contains(&there), "{there}");
    }
}
