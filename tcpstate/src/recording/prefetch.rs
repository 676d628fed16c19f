//! Prefetches events on other threads for a reader that takes them in order:
//! parsing a line costs more than feeding its event to an engine.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::available_parallelism;
use std::vec;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::index::Index;
use crate::event::Event;

/// Events that are read in order before others are prefetched: a few steps are
/// not worth a thread.
const SEQUENTIAL_READS: usize = 64;
/// Threads that parse, at most: one engine keeps no more of them busy.
const MAX_THREADS: usize = 4;
/// Batches of lines that are pending for each thread.
const BATCHES_PER_THREAD: usize = 2;

/// Threads that parse; several prefetchers may share them.
#[derive(Clone, Debug, Default)]
pub struct ReadPool {
    /// `None`: no thread could be started, and nothing is prefetched.
    threads: Option<Arc<ThreadPool>>,
}

impl ReadPool {
    /// Starts them.
    #[must_use]
    pub fn start() -> Self {
        let count = available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
        let builder = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|number| format!("reader {number}"));
        let threads = builder.build().ok().map(Arc::new);
        Self { threads }
    }
}

/// Facts of a recording, ready when they are asked for in order.
#[derive(Debug, Default)]
pub struct Prefetcher {
    pool: ReadPool,
    /// The event that is expected to be asked for.
    expected: usize,
    /// How many were asked for in order.
    sequential: usize,
    /// Those from `expected` on that are there.
    ready: vec::IntoIter<Option<Event>>,
    pending: VecDeque<PendingBatch>,
    /// The first event that was not requested from a thread.
    next: usize,
}

#[derive(Debug)]
struct PendingBatch {
    first: usize,
    facts: Receiver<io::Result<Vec<Option<Event>>>>,
}

impl Prefetcher {
    /// Prefetches with these threads.
    #[must_use]
    pub fn with_pool(pool: &ReadPool) -> Self {
        Self {
            pool: pool.clone(),
            ..Self::default()
        }
    }

    /// Reads an event; `None`: an engine derives it again, it cannot be read, or is
    /// of a later version.
    pub fn read_fact(&mut self, index: &mut Index, event: usize) -> io::Result<Option<Event>> {
        if event != self.expected {
            self.begin_at(event);
        }
        self.expected = event.saturating_add(1);
        if let Some(fact) = self.ready.next() {
            return Ok(fact);
        }
        self.sequential += 1;
        if self.sequential > SEQUENTIAL_READS {
            self.request_batches(index, event);
            if self
                .pending
                .front()
                .is_some_and(|batch| batch.first == event)
                && let Some(batch) = self.pending.pop_front()
            {
                if let Ok(Ok(facts)) = batch.facts.recv() {
                    self.ready = facts.into_iter();
                    return Ok(self.ready.next().flatten());
                }
                // Reading it here returns the error.
                self.begin_at(self.expected);
            }
        }
        index.read_fact(event)
    }

    fn begin_at(&mut self, event: usize) {
        *self = Self {
            expected: event,
            next: event,
            ..Self::with_pool(&self.pool)
        };
    }

    fn request_batches(&mut self, index: &Index, event: usize) {
        let Some(threads) = &self.pool.threads else {
            return;
        };
        self.next = self.next.max(event);
        while self.pending.len() < BATCHES_PER_THREAD * threads.current_num_threads()
            && let Some(batch) = index.batch(self.next)
        {
            let (sender, facts) = mpsc::channel();
            self.pending.push_back(PendingBatch {
                first: self.next,
                facts,
            });
            self.next += batch.len();
            // The receiver may be gone after a seek.
            threads.spawn(move || drop(sender.send(batch.facts())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    /// Two parts with lines of all kinds, and more of them than one batch has.
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
    fn what_is_prefetched_is_what_is_read_one_by_one() {
        let (paths, _dir) = recorded();
        let (mut index, mut other) = (index(&paths), index(&paths));
        assert_eq!(index.len(), 24_000);
        let mut prefetcher = Prefetcher::with_pool(&ReadPool::start());
        let mut without = Prefetcher::default();
        let jumps = [
            0..24_000,
            500..1_500,
            500..520,
            11_900..12_200,
            7_000..24_003,
        ];
        let mut derived = 0;
        for event in jumps.into_iter().flatten() {
            let fact = prefetcher.read_fact(&mut index, event).unwrap();

            assert_eq!(fact, other.read_fact(event).unwrap(), "{event}");
            assert_eq!(
                fact,
                without.read_fact(&mut other, event).unwrap(),
                "{event}"
            );
            derived += usize::from(fact.is_none());
        }
        assert!(derived > 1_000);
        assert!(!prefetcher.pending.is_empty() || prefetcher.expected > 24_000);
    }

    #[test]
    fn pending_batches_are_bounded() {
        let (paths, _dir) = recorded();
        let mut index = index(&paths);
        let pool = ReadPool::start();
        let most = BATCHES_PER_THREAD * pool.threads.as_ref().unwrap().current_num_threads();
        let mut prefetcher = Prefetcher::with_pool(&pool);
        let mut sent = 0;
        for event in 0..24_000 {
            prefetcher.read_fact(&mut index, event).unwrap();
            sent = sent.max(prefetcher.pending.len());
            assert!(prefetcher.pending.len() <= most);
            let is_ahead = prefetcher.next > event + 1;
            assert!(event != SEQUENTIAL_READS || is_ahead);
            assert!(event >= SEQUENTIAL_READS || !is_ahead, "{event}");
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
        let mut prefetcher = Prefetcher::with_pool(&ReadPool::start());

        let facts = (0..index.len()).map(|event| prefetcher.read_fact(&mut index, event).unwrap());
        let there = facts.flatten().count();

        assert!((3_000..6_000).contains(&there), "{there}");
    }
}
