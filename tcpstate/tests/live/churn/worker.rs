//! One thread of the churn: its listeners, its open sockets, what it does next.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use super::acts::ACTS;
use super::ends::{self, tcp_option};
use super::{Gate, Random};
use support::at;

/// Open sockets of a thread; above it every act closes one.
const MOST_ENDS: usize = 150;
/// Longest pause between two acts.
const MOST_PAUSE_US: u64 = 3_000;
/// Holders of sockets that are to be killed.
const MOST_CHILDREN: usize = 3;

/// One thread's sockets.
pub(super) struct Worker {
    pub(super) number: u8,
    pub(super) random: Random,
    /// Each with the addresses at which a client reaches it.
    pub(super) listeners: Vec<(OwnedFd, Vec<SocketAddr>)>,
    pub(super) ends: Vec<OwnedFd>,
    pub(super) children: Vec<Child>,
    /// Counts up wherever something unused is needed.
    pub(super) fresh: u16,
    pub(super) connections: u64,
}

/// Acts until the gate says that it is over.
pub(super) fn run(number: u8, seed: u64, gate: &Gate) {
    let mut worker = Worker::new(number, seed);
    let total: usize = ACTS.iter().map(|(weight, _, _)| weight).sum();
    loop {
        let mut chosen = worker.random.below(total);
        let (_, name, act) = ACTS
            .iter()
            .find(|(weight, _, _)| {
                let is_it = chosen < *weight;
                chosen = chosen.saturating_sub(*weight);
                is_it
            })
            .expect("the weights add up to the total");
        act(&mut worker);
        while worker.ends.len() > MOST_ENDS {
            worker.take_end();
        }
        while worker.children.len() > MOST_CHILDREN {
            kill(worker.children.remove(0));
        }
        if !gate.pass(name, std::mem::take(&mut worker.connections)) {
            break;
        }
        let pause_us = worker.random.next() % MOST_PAUSE_US;
        std::thread::sleep(Duration::from_micros(pause_us));
    }
    worker.children.drain(..).for_each(kill);
}

impl Worker {
    fn new(number: u8, seed: u64) -> Self {
        let port = 10_000 + 100 * u16::from(number);
        let own = format!("127.0.0.{}", number + 1);
        let mut listeners = Vec::new();
        let mut listen = |address: String, reuseaddr, at_clients: &[String]| {
            let listener = ends::listen(&address, reuseaddr, 16).expect("the namespace is ours");
            listeners.push((listener, at_clients.iter().map(|text| at(text)).collect()));
        };
        let v4 = format!("{own}:{port}");
        let v6 = format!("[::1]:{}", port + 1);
        let dual = [
            format!("{own}:{}", port + 2),
            format!("[::1]:{}", port + 2),
            format!("[::ffff:{own}]:{}", port + 2),
        ];
        let deferring = format!("{own}:{}", port + 3);
        listen(v4.clone(), true, &[v4]);
        listen(v6.clone(), false, &[v6]);
        listen(format!("[::]:{}", port + 2), true, &dual);
        listen(deferring.clone(), true, &[deferring]);
        let (last, _) = listeners.last().expect("four were pushed");
        // The connection is there for the client, and for the server only when
        // data comes: until then it is a request.
        tcp_option(last, libc::TCP_DEFER_ACCEPT, 2);
        Self {
            number,
            random: Random::new(seed ^ (u64::from(number) << 56)),
            listeners,
            ends: Vec::new(),
            children: Vec::new(),
            fresh: 0,
            connections: 0,
        }
    }

    /// A number of this thread's own that was not used for a while.
    pub(super) fn next_fresh(&mut self) -> u16 {
        self.fresh = (self.fresh + 1) % 2_000;
        self.fresh
    }

    /// One of the listeners' addresses.
    pub(super) fn some_address(&mut self) -> SocketAddr {
        let at = self.random.below(self.listeners.len());
        let count = self.listeners[at].1.len();
        self.listeners[at].1[self.random.below(count)]
    }

    /// A connection to one of the listeners; `None`: refused.
    pub(super) fn connect(&mut self, socket: OwnedFd, address: SocketAddr) -> Option<OwnedFd> {
        self.connections += 1;
        ends::connect(socket, address)
    }

    /// Takes an open socket away.
    pub(super) fn take_end(&mut self) -> Option<OwnedFd> {
        let at = self.random.below(self.ends.len());
        (at < self.ends.len()).then(|| self.ends.swap_remove(at))
    }

    /// Does something with an open socket.
    pub(super) fn with_end(&mut self, act: impl FnOnce(&OwnedFd)) {
        let at = self.random.below(self.ends.len());
        if let Some(end) = self.ends.get(at) {
            act(end);
        }
    }
}

/// As `kill -9` does.
fn kill(mut child: Child) {
    child.kill().expect("it was started here");
    child.wait().expect("it ends");
}
