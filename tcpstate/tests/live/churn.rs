//! Random churn: threads that open, abuse and close connections in the test's
//! namespace, over IPv4, IPv6 and IPv4-mapped addresses. What each thread
//! does follows from the seed; when it does it, the scheduler decides.

mod acts;
mod ends;
mod random;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub(crate) use ends::{die_of_silence, fill, take_in, tcp_option};
pub(crate) use random::Random;

/// Threads: more than this machine class has processors, so that what the
/// kernel tells from different ones comes out of order.
const WORKERS: u8 = 4;

/// The threads.
pub(crate) struct Churn {
    gate: Arc<Gate>,
    workers: Vec<JoinHandle<()>>,
}

/// Lets the threads run, or holds them between two acts.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_closed: bool,
    is_over: bool,
    held: usize,
    acts: BTreeMap<&'static str, u64>,
    connections: u64,
}

impl Churn {
    /// Starts the threads in the calling thread's namespace.
    pub(crate) fn start(seed: u64) -> Self {
        let gate = Arc::new(Gate::default());
        let workers = (0..WORKERS)
            .map(|number| {
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || worker::run(number, seed, &gate))
            })
            .collect();
        Self { gate, workers }
    }

    /// Holds all threads between two acts.
    pub(crate) fn pause(&self) {
        let mut state = self.gate.lock();
        state.is_closed = true;
        while state.held < usize::from(WORKERS) {
            assert!(
                self.workers.iter().all(|worker| !worker.is_finished()),
                "a thread of the churn has ended"
            );
            state = self
                .gate
                .changed
                .wait_timeout(state, std::time::Duration::from_secs(1))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        self.gate.lock().is_closed = false;
        self.gate.changed.notify_all();
    }

    /// Connections that were tried so far.
    pub(crate) fn connections(&self) -> u64 {
        self.gate.lock().connections
    }

    /// Ends the threads; they close what they have. How often each act was done.
    pub(crate) fn finish(self) -> BTreeMap<&'static str, u64> {
        {
            let mut state = self.gate.lock();
            state.is_closed = false;
            state.is_over = true;
        }
        self.gate.changed.notify_all();
        for worker in self.workers {
            worker.join().expect("no act fails");
        }
        std::mem::take(&mut self.gate.lock().acts)
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an act, and waits while the gate is closed. `false`: it is over.
    fn pass(&self, act: &'static str, connections: u64) -> bool {
        let mut state = self.lock();
        *state.acts.entry(act).or_default() += 1;
        state.connections += connections;
        if state.is_closed {
            state.held += 1;
            self.changed.notify_all();
            while state.is_closed {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            state.held -= 1;
        }
        !state.is_over
    }
}
