//! The load: connections, populations, binds, failing binds, empty system calls. Each
//! is a process of its own (`cargo xtask bench load …`) in the stage's network
//! namespace, does a stated amount of work and says what it did as JSON.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType, accept, bind, connect, listen, socket, sockopt};
use serde_json::json;

use super::stopwatch::{Stopwatch, own_ns};

/// Server addresses of one thread. A TIME_WAIT keeps its pair of addresses for a
/// minute, so that connections have to go to several.
pub(super) const ADDRESSES: u16 = 2;
const PORT: u16 = 8080;
/// The first port of those whose binds fail.
const FAILING_PORT: u16 = 8_100;
const BACKLOG: i32 = 512;
/// An address that no host has (RFC 5737), so that a bind of it fails.
pub(super) const FOREIGN: &str = "192.0.2.1";
/// `nobody`, who fails binds without a privilege.
const NOBODY: u32 = 65_534;

/// Who closes a connection, and what it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// The server closes first and keeps the TIME_WAIT.
    ServerFirst,
    /// The client closes first and keeps it.
    ClientFirst,
    /// The client resets the connection; nothing is left.
    Reset,
    /// As `server-first`, over IPv6.
    Ipv6,
}

impl Kind {
    /// Transitions of `inet_sock_set_state` that one connection makes, both ends
    /// together; LISTEN -> SYN_RECV, which tcpstate leaves out, not among them.
    pub(super) fn transitions(self) -> u64 {
        match self {
            Self::ServerFirst | Self::ClientFirst | Self::Ipv6 => 9,
            Self::Reset => 5,
        }
    }

    fn address(self, thread: u16, number: u16) -> SocketAddr {
        let host = thread * ADDRESSES + number + 1;
        let ip: IpAddr = match self {
            Self::Ipv6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into(),
            _ => Ipv4Addr::from(0x7f00_0000 + u32::from(host)).into(),
        };
        SocketAddr::new(ip, PORT)
    }
}

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Load {
    /// Opens and closes connections.
    Connections {
        #[arg(long, value_enum, default_value = "server-first")]
        kind: Kind,
        #[arg(long, default_value_t = 1)]
        threads: u16,
        #[arg(long)]
        connections: u64,
        /// Connections a second of all threads; 0: as fast as possible.
        #[arg(long, default_value_t = 0)]
        rate: u64,
    },
    /// Makes so many sockets, says so, and keeps them until stdin ends.
    Population {
        #[arg(long)]
        sockets: u64,
        /// Established connections, both ends counted, instead of TIME_WAITs.
        #[arg(long)]
        established: bool,
        /// Of several such processes: one process has too few descriptors.
        #[arg(long, default_value_t = 0)]
        number: u32,
    },
    /// Binds a port that somebody listens on.
    FailingBinds {
        #[arg(long)]
        binds: u64,
        #[arg(long)]
        every_ms: u64,
    },
    /// Fails to bind one port after another, as a user without privileges.
    ForeignBinds {
        /// Binds a second; 0: as fast as possible.
        #[arg(long)]
        rate: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Has descriptors open until stdin ends.
    Idle {
        #[arg(long)]
        descriptors: u64,
    },
    /// Makes sockets, binds each to a port that the kernel chooses, and closes it.
    Binds {
        #[arg(long)]
        calls: u64,
    },
    /// Makes a system call that has nothing to do with sockets.
    Syscalls {
        #[arg(long)]
        calls: u64,
    },
}

/// Does it.
pub(crate) fn run(load: &Load) -> Result<()> {
    match *load {
        Load::Connections {
            kind,
            threads,
            connections,
            rate,
        } => connections_of(kind, threads.max(1), connections, rate),
        Load::Population {
            sockets,
            established,
            number,
        } => population(sockets, established, number),
        Load::FailingBinds { binds, every_ms } => failing_binds(binds, every_ms),
        Load::ForeignBinds { rate, seconds } => foreign_binds(rate, seconds),
        Load::Idle { descriptors } => idle(descriptors),
        Load::Binds { calls } => {
            let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
            timed(calls, || bind(&stream(any)?, &any).context("cannot bind"))
        }
        Load::Syscalls { calls } => timed(calls, || {
            std::hint::black_box(rustix::process::getppid());
            Ok(())
        }),
    }
}

/// Does it so many times, and says how long that took.
fn timed(calls: u64, call: impl Fn() -> Result<()>) -> Result<()> {
    let (began, before_ns) = (Stopwatch::start(), own_ns());
    for _ in 0..calls {
        call()?;
    }
    say(&json!({
        "calls": calls,
        "took_ns": began.nanos(),
        "own_ns": own_ns() - before_ns,
    }))
}

fn connections_of(kind: Kind, threads: u16, connections: u64, rate: u64) -> Result<()> {
    let each = connections / u64::from(threads);
    let rate = rate.div_ceil(u64::from(threads));
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            let listeners = (0..ADDRESSES)
                .map(|number| listener(kind.address(thread, number)))
                .collect::<Result<Vec<_>>>()?;
            Ok(move || churn(kind, &listeners, each, rate))
        })
        .collect::<Result<_>>()?;
    let began = Stopwatch::start();
    let running: Vec<_> = workers.into_iter().map(thread::spawn).collect();
    for worker in running {
        worker.join().expect("a worker returns its errors")?;
    }
    let took_ns = began.nanos();
    let done = each * u64::from(threads);
    let listeners = u64::from(threads * ADDRESSES);
    say(&json!({
        "connections": done,
        "took_ns": took_ns,
        // Each listener enters LISTEN and leaves it at the end.
        "transitions": done * kind.transitions() + 2 * listeners,
    }))
}

fn churn(
    kind: Kind,
    listeners: &[(OwnedFd, SocketAddr)],
    connections: u64,
    rate: u64,
) -> Result<()> {
    let began = Stopwatch::start();
    for number in 0..connections {
        if let Some(due_ns) = (number * 1_000_000_000).checked_div(rate) {
            let ahead = Duration::from_nanos(due_ns).saturating_sub(began.elapsed());
            if ahead > Duration::from_millis(1) {
                thread::sleep(ahead);
            }
        }
        let at = usize::try_from(number % listeners.len() as u64)?;
        let (listener, address) = &listeners[at];
        let client = stream(*address)?;
        connect(&client, address).context("cannot connect")?;
        let server = accept(listener).context("cannot accept")?;
        match kind {
            Kind::ServerFirst | Kind::Ipv6 => {
                drop(server);
                drop(client);
            }
            Kind::ClientFirst => {
                drop(client);
                drop(server);
            }
            Kind::Reset => {
                sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
                drop(client);
                drop(server);
            }
        }
    }
    Ok(())
}

/// Each connection has a port of its own, so that none takes the place of another
/// one's TIME_WAIT; one address has room for some 50,000.
fn population(sockets: u64, established: bool, number: u32) -> Result<()> {
    const PER_ADDRESS: u64 = 50_000;
    const FIRST_PORT: u64 = 10_000;
    let connections = if established { sockets / 2 } else { sockets };
    lift_descriptor_limit();
    let mut kept = Vec::new();
    for host in 0..connections.div_ceil(PER_ADDRESS) {
        let ip = Ipv4Addr::from(0x7f00_0101 + number * 256 + u32::try_from(host)?);
        let (listener, address) = listener(SocketAddr::new(ip.into(), PORT))?;
        for at in 0..PER_ADDRESS.min(connections - host * PER_ADDRESS) {
            let client = stream(address)?;
            let port = u16::try_from(FIRST_PORT + at)?;
            let from = SocketAddr::new(ip.into(), port);
            bind(&client, &from).with_context(|| format!("cannot bind {from}"))?;
            connect(&client, &address).context("cannot connect")?;
            let server = accept(&listener).context("cannot accept")?;
            if established {
                kept.push((client, server));
            } else {
                // The server's end first: it keeps the TIME_WAIT.
                drop(server);
                drop(client);
            }
        }
    }
    say(&json!({ "ready": true }))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(kept);
    Ok(())
}

fn failing_binds(binds: u64, every_ms: u64) -> Result<()> {
    /// Of one port ten failures a second are explained, and the others counted.
    const PORTS: u16 = 20;
    let holders: Vec<(OwnedFd, SocketAddr)> = (0..PORTS)
        .map(|at| {
            listener(SocketAddr::new(
                Ipv4Addr::LOCALHOST.into(),
                FAILING_PORT + at,
            ))
        })
        .collect::<Result<_>>()?;
    for (_, address) in holders.iter().cycle().take(usize::try_from(binds)?) {
        let (socket, address) = (stream(*address)?, *address);
        anyhow::ensure!(bind(&socket, &address).is_err(), "the bind did not fail");
        thread::sleep(Duration::from_millis(every_ms));
    }
    say(&json!({ "binds": binds }))
}

fn foreign_binds(rate: u64, seconds: u64) -> Result<()> {
    const FIRST_PORT: u64 = 10_000;
    const PORTS: u64 = 50_000;
    let address: IpAddr = FOREIGN.parse().context("an address")?;
    let socket = stream(SocketAddr::new(address, 0))?;
    let nobody = rustix::process::Uid::from_raw(NOBODY);
    rustix::thread::set_thread_uid(nobody).context("cannot become nobody")?;
    let (began, whole) = (Stopwatch::start(), Duration::from_secs(seconds));
    let mut made: u64 = 0;
    while began.elapsed() < whole {
        if let Some(due_ns) = (made * 1_000_000_000).checked_div(rate) {
            let ahead = Duration::from_nanos(due_ns).saturating_sub(began.elapsed());
            thread::sleep(ahead);
        }
        let port = u16::try_from(FIRST_PORT + made % PORTS)?;
        let bound = bind(&socket, &SocketAddr::new(address, port));
        anyhow::ensure!(bound.is_err(), "the bind did not fail");
        made += 1;
    }
    say(&json!({ "made": made }))
}

fn idle(descriptors: u64) -> Result<()> {
    lift_descriptor_limit();
    let stdin = std::io::stdin();
    let kept: Vec<OwnedFd> = (0..descriptors)
        .map(|_| rustix::io::dup(&stdin).context("cannot have so many descriptors"))
        .collect::<Result<_>>()?;
    say(&json!({ "ready": true }))?;
    stdin.lock().read_to_end(&mut Vec::new())?;
    drop(kept);
    Ok(())
}

fn listener(address: SocketAddr) -> Result<(OwnedFd, SocketAddr)> {
    let listener = stream(address)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    bind(&listener, &address).with_context(|| format!("cannot bind {address}"))?;
    listen(&listener, BACKLOG)?;
    Ok((listener, address))
}

fn stream(address: SocketAddr) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    socket(family, SocketType::STREAM, None).context("cannot make a socket")
}

/// As many descriptors as may be had without asking anybody.
fn lift_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where it fails, making the sockets says so.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

#[expect(clippy::unnecessary_wraps, reason = "the last thing that a load does")]
fn say(what: &serde_json::Value) -> Result<()> {
    println!("{what}");
    Ok(())
}
