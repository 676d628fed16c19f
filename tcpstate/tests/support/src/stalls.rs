//! Times at which nothing on this machine got a processor: a virtual machine that its
//! host does not run says nothing about the program under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tcpstate::clock;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(10);

/// Measures the longest time for which a thread that only sleeps was not woken.
#[derive(Debug)]
pub struct Stalls {
    is_over: Arc<AtomicBool>,
    longest_ns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    /// Begins to measure.
    pub fn measure() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let longest_ns = Arc::new(AtomicU64::new(0));
        let (over, longest) = (Arc::clone(&is_over), Arc::clone(&longest_ns));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let began_ns = clock::monotonic_ns();
                std::thread::sleep(EVERY);
                let took = Duration::from_nanos(clock::monotonic_ns().saturating_sub(began_ns));
                let late_ns = took.saturating_sub(EVERY).as_nanos();
                let late_ns = u64::try_from(late_ns).unwrap_or(u64::MAX);
                longest.fetch_max(late_ns, Ordering::Relaxed);
            }
        });
        Self {
            is_over,
            longest_ns,
            thread: Some(thread),
        }
    }

    /// The longest until now.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
