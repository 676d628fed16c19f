//! A server on port 8080, its connections, its end and its restart, given to an
//! engine as the kernel would. For the screen tests and the preview.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tcpstate::engine::{Engine, Limits};
use tcpstate::event::{
    Applies, Body, Call, Capture, Cause, Certainty, ClockAnchor, Diagnosis, Direction, Endpoint,
    Family, Filters, Fix, Header, Holder, KnownBy, Loss, LossStage, Mini, Overlap, Probe,
    ProbeStatus, Process, Requested, Reset, Reuse, Seen, SeenHolder, SeenSource, Sock, SocketSeen,
    Source, State, StateChange, Sysctls, Tick, WouldWork, YesNo,
};

/// The observer's own namespace.
pub const NETNS: u32 = 4_026_531_992;
/// The server's.
pub const PORT: u16 = 8080;
const MS: u64 = 1_000_000;
/// When the scenario begins, monotonic clock.
pub const START_NS: u64 = 100_000 * MS;

/// An engine, and what has happened so far.
pub struct Scenario {
    /// What has observed it.
    pub engine: Engine,
    /// Monotonic clock.
    pub now_ns: u64,
    cookie: u64,
    /// Where the next sockets are.
    pub netns: u32,
    /// What `ip netns` calls that, where it is not the observer's own.
    pub netns_name: Option<Arc<str>>,
}

impl Scenario {
    /// Nothing has happened yet.
    pub fn empty() -> Self {
        Self {
            engine: Engine::new(Limits::default()),
            now_ns: START_NS,
            cookie: 0,
            netns: NETNS,
            netns_name: None,
        }
    }

    /// tcpstate has begun to watch port 8080.
    pub fn begun() -> Self {
        Self::watching(vec![[PORT, PORT]])
    }

    /// The same with these ranges of ports.
    pub fn watching(ports: Vec<[u16; 2]>) -> Self {
        let mut scenario = Self::empty();
        scenario.observe(Body::Header(Box::new(header(ports))));
        scenario
    }

    /// Something happens now.
    pub fn observe(&mut self, body: Body) {
        self.engine.observe(self.now_ns, body);
    }

    /// Time passes; the engine gets a tick every second.
    pub fn wait_ms(&mut self, ms: u64) {
        let end_ns = self.now_ns + ms * MS;
        while self.now_ns + 1_000 * MS <= end_ns {
            self.now_ns += 1_000 * MS;
            self.observe(Body::Tick(Tick {}));
        }
        self.now_ns = end_ns;
    }

    /// A server binds.
    pub fn bind(&mut self, port: u16, by: &Arc<Process>) {
        let sock = self.next_sock();
        let mut call = call(port, by, sock);
        call.local = Some(any(port));
        self.observe(Body::Bind(Box::new(call)));
    }

    /// A server binds and listens; gives its listening socket.
    pub fn listen(&mut self, port: u16, by: &Arc<Process>) -> Sock {
        let sock = self.next_sock();
        self.listen_with(sock, port, by)
    }

    /// The same with this socket.
    pub fn listen_with(&mut self, sock: Sock, port: u16, by: &Arc<Process>) -> Sock {
        let mut call = call(port, by, sock);
        call.local = Some(any(port));
        self.observe(Body::Bind(Box::new(call.clone())));
        self.now_ns += MS;
        let mut change = change(sock, any(port), none(), State::Closed, State::Listen);
        change.process = Some(Arc::clone(by));
        self.observe(Body::State(change));
        self.now_ns += MS / 10;
        self.observe(Body::Listen(Box::new(call)));
        sock
    }

    /// The listening socket is closed.
    pub fn stop_listening(&mut self, sock: Sock, port: u16, by: &Arc<Process>) {
        let mut change = change(sock, any(port), none(), State::Listen, State::Closed);
        change.process = Some(Arc::clone(by));
        self.observe(Body::State(change));
    }

    /// A client connects.
    pub fn accept(&mut self, listener: Sock, port: u16, peer_port: u16) -> Sock {
        let sock = self.next_sock();
        let (local, peer) = (at(1, port), at(2, peer_port));
        let mut first = change(sock, local, peer, State::Listen, State::SynReceived);
        first.listener = Some(listener.cookie);
        self.observe(Body::State(first));
        self.now_ns += MS / 5;
        let mut second = change(sock, local, peer, State::SynReceived, State::Established);
        second.listener = Some(listener.cookie);
        self.observe(Body::State(second));
        sock
    }

    /// The server closes first; its end stays in `TIME_WAIT`.
    pub fn close_first(&mut self, sock: Sock, port: u16, peer_port: u16, by: &Arc<Process>) {
        let (local, peer) = (at(1, port), at(2, peer_port));
        let mut first = change(sock, local, peer, State::Established, State::FinWait1);
        first.process = Some(Arc::clone(by));
        self.observe(Body::State(first));
        self.now_ns += MS / 4;
        let second = change(sock, local, peer, State::FinWait1, State::FinWait2);
        self.observe(Body::State(second));
        self.now_ns += MS / 2;
        let mut third = change(sock, local, peer, State::FinWait2, State::Closed);
        third.mini = Some(Mini {
            state: State::TimeWait,
            expires_ms: Some(60_000),
            reuse: Reuse::default(),
            source: Source::Kernel,
        });
        self.observe(Body::State(third));
    }

    /// The peer closes first.
    pub fn peer_closes(&mut self, sock: Sock, port: u16, peer_port: u16) {
        self.pass(sock, port, peer_port, State::Established, State::CloseWait);
    }

    /// The server closes after its peer; nothing stays.
    pub fn close_second(&mut self, sock: Sock, port: u16, peer_port: u16) {
        self.pass(sock, port, peer_port, State::CloseWait, State::LastAck);
        self.now_ns += MS / 4;
        self.pass(sock, port, peer_port, State::LastAck, State::Closed);
    }

    fn pass(&mut self, sock: Sock, port: u16, peer_port: u16, old: State, new: State) {
        self.observe(Body::State(change(
            sock,
            at(1, port),
            at(2, peer_port),
            old,
            new,
        )));
    }

    /// A bind is refused because of these sockets.
    pub fn bind_fails(&mut self, port: u16, by: &Arc<Process>, held_by: Vec<SeenHolder>) {
        let sock = self.next_sock();
        let mut call = call(port, by, sock);
        call.ok = false;
        call.errno = Some(98);
        call.errno_name = Some("EADDRINUSE".into());
        call.netns_name.clone_from(&self.netns_name);
        call.seen = Some(Seen {
            source: SeenSource::BindBucket,
            is_complete: true,
            visited: u32::try_from(held_by.len()).unwrap_or(u32::MAX),
            holders: held_by,
            holders_more: 0,
            sharing: None,
            admits_reuseaddr: false,
            processes_unread: None,
        });
        self.observe(Body::Bind(Box::new(call)));
    }

    /// The `TIME_WAIT` sockets of a port as the kernel's bind bucket shows them.
    pub fn held_by_time_wait(&self, port: u16) -> Vec<SeenHolder> {
        let mut held: Vec<SeenHolder> = self
            .engine
            .table()
            .iter()
            .filter(|socket| socket.local.port == port && socket.state == State::TimeWait)
            .map(|socket| SeenHolder {
                sock: socket.sock,
                local: socket.local,
                peer: socket.peer,
                state: socket.state,
                is_mini: true,
                reuse: Some(Reuse::default()),
                v6only: None,
                bound_dev_if: None,
                uid: None,
                is_connect_bound: None,
                is_port_locked: None,
                inode: None,
                expires_ms: socket.remaining_ns(self.now_ns).map(|ns| ns / MS),
                alike: 0,
                is_tripped_over: false,
                processes: None,
                processes_more: 0,
                is_opener_gone: false,
            })
            .collect();
        held.sort_by_key(|holder| holder.peer.port);
        held
    }

    /// A connection is reset by this process.
    pub fn reset(&mut self, sock: Sock, port: u16, peer_port: u16, by: &Arc<Process>) {
        self.observe(Body::Reset(Reset {
            direction: Direction::Sent,
            sock: Some(sock),
            local: at(1, port),
            peer: at(2, peer_port),
            state: Some(State::Established),
            reason: Some("tcp_abort_on_close".into()),
            reason_raw: Some(4),
            process: Some(Arc::clone(by)),
        }));
    }

    /// Events are lost.
    pub fn lose(&mut self, count: u64, resynced: bool) {
        self.observe(Body::Loss(Loss {
            stage: LossStage::Kernel,
            count,
            resynced,
        }));
    }

    /// Sockets that were there before us.
    pub fn find(&mut self, count: u32, state: State, by: Option<&Arc<Process>>) {
        for index in 0..count {
            let sock = self.next_sock();
            let low = u16::try_from(index % 60_000).unwrap_or(0);
            let host = u8::try_from(index / 60_000).unwrap_or(0);
            self.observe(Body::Socket(SocketSeen {
                sock,
                local: at(1, PORT),
                peer: Endpoint {
                    addr: Ipv4Addr::new(10, 0, host, 9).into(),
                    port: 1024 + low,
                },
                state,
                process: by.cloned(),
                reuse: None,
                expires_ms: (state == State::TimeWait).then_some(u64::from(low)),
                processes: None,
                netns_ended: None,
                ended: None,
                source: Source::Snapshot,
            }));
        }
    }

    /// A socket that was not there before.
    pub fn next_sock(&mut self) -> Sock {
        self.cookie += 1;
        Sock {
            cookie: self.cookie,
            netns: self.netns,
            family: Family::Ipv4,
        }
    }
}

/// A server with connections; it closed some first, its peers closed others,
/// four are open.
pub fn serving() -> (Scenario, Sock) {
    let (scenario, listener, _) = serving_with_open();
    (scenario, listener)
}

fn serving_with_open() -> (Scenario, Sock, Vec<(Sock, u16)>) {
    let mut scenario = Scenario::begun();
    let nginx = process("nginx", 4711);
    let mut open = Vec::new();
    scenario.wait_ms(2_000);
    let listener = scenario.listen(PORT, &nginx);
    for peer_port in 40_001..40_017 {
        scenario.wait_ms(1_300);
        let sock = scenario.accept(listener, PORT, peer_port);
        scenario.wait_ms(200);
        match peer_port % 4 {
            0 => open.push((sock, peer_port)),
            1 => {
                scenario.peer_closes(sock, PORT, peer_port);
                scenario.wait_ms(30);
                scenario.close_second(sock, PORT, peer_port);
            }
            _ => scenario.close_first(sock, PORT, peer_port, &nginx),
        }
    }
    scenario.wait_ms(3_000);
    (scenario, listener, open)
}

/// The server has stopped and its successor cannot bind.
pub fn down() -> Scenario {
    let (mut scenario, listener, open) = serving_with_open();
    let nginx = process("nginx", 4711);
    scenario.stop_listening(listener, PORT, &nginx);
    for (sock, peer_port) in open {
        scenario.close_first(sock, PORT, peer_port, &nginx);
    }
    let successor = process("nginx", 4802);
    for _ in 0..3 {
        scenario.wait_ms(1_900);
        let held = scenario.held_by_time_wait(PORT);
        scenario.bind_fails(PORT, &successor, held);
    }
    scenario.wait_ms(2_300);
    scenario
}

/// Watched from another network namespace, a server in a container has stopped
/// and its successor cannot bind.
pub fn elsewhere(netns_name: Option<&str>) -> Scenario {
    let mut scenario = Scenario::empty();
    let mut header = header(vec![]);
    header.netns = Some(4_026_531_840);
    header.filters.netns = None;
    scenario.observe(Body::Header(Box::new(header)));
    scenario.netns_name = netns_name.map(Into::into);
    let contained = |pid| {
        Arc::new(Process {
            container: Some(("0123456789ab".to_owned() + &"cd".repeat(26)).into()),
            runtime: Some("docker".into()),
            container_uid: Some(0),
            ..(*process("nginx", pid)).clone()
        })
    };
    let nginx = contained(4711);
    let listener = scenario.listen(PORT, &nginx);
    let sock = scenario.accept(listener, PORT, 40_001);
    scenario.wait_ms(4_000);
    scenario.stop_listening(listener, PORT, &nginx);
    scenario.close_first(sock, PORT, 40_001, &nginx);
    scenario.wait_ms(2_000);
    let held = scenario.held_by_time_wait(PORT);
    scenario.bind_fails(PORT, &contained(4802), held);
    scenario.wait_ms(1_000);
    scenario
}

/// The successor listens at last.
pub fn restarted() -> Scenario {
    let mut scenario = down();
    scenario.wait_ms(31_000);
    scenario.listen(PORT, &process("nginx", 4815));
    scenario.wait_ms(5_000);
    scenario
}

/// A process of this name.
pub fn process(comm: &str, pid: u32) -> Arc<Process> {
    Arc::new(Process {
        tid: None,
        ppid: Some(1),
        exe: Some(format!("/usr/sbin/{comm}").into()),
        argv: Some(
            [
                format!("/usr/sbin/{comm}"),
                "-g".into(),
                "daemon off;".into(),
            ]
            .into(),
        ),
        cgroup: Some("/system.slice/nginx.service".into()),
        ..Process::new(pid, 33, comm, KnownBy::Syscall)
    })
}

/// A diagnosis as the real one would be, so that screens do not depend on its
/// wording.
pub fn diagnosis(of: u64, call: &Call) -> Diagnosis {
    let nginx = process("nginx", 4711);
    let seen = call.seen.iter().flat_map(|seen| &seen.holders);
    let holders: Vec<Holder> = seen
        .map(|holder| Holder {
            sock: holder.sock,
            local: holder.local,
            peer: holder.peer,
            state: holder.state,
            overlap: Overlap::Wildcard,
            reuse: holder.reuse,
            process: None,
            processes: holder.processes.clone(),
            processes_more: 0,
            relation: None,
            left_by: Some(Arc::clone(&nginx)),
            expires_ms: holder.expires_ms,
            alike: 0,
            is_tripped_over: false,
            evidence: vec![11, 14],
        })
        .collect();
    Diagnosis {
        of,
        cause: Cause::TimeWaitLeftWithoutReuse,
        summary: format!(
            "Port {} is still held by {} connections in TIME_WAIT that {} left without \
             SO_REUSEADDR, so setting it on the new socket cannot help this time.",
            call.requested.port,
            holders.len(),
            nginx
        ),
        clears_ms: holders.iter().filter_map(|holder| holder.expires_ms).max(),
        holders_more: 0,
        holders,
        would_work: WouldWork {
            reuseaddr: YesNo::No,
            reuseport: YesNo::No,
            v6only: YesNo::Unknown,
        },
        fixes: vec![
            Fix {
                id: "wait".into(),
                text: "Wait until the last TIME_WAIT is gone, then start again.".into(),
                command: Some(format!("tcpstate wait {PORT} && systemctl start nginx")),
                language: None,
                effect: None,
                applies: Applies::Now,
                why: None,
            },
            Fix {
                id: "set_reuseaddr".into(),
                text: "Set SO_REUSEADDR before bind, so that what this server leaves behind \
                       does not block its successor."
                    .into(),
                command: Some(
                    "setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int))".into(),
                ),
                language: None,
                effect: None,
                applies: Applies::NextTime,
                why: Some("The kernel asks the old socket and the new one.".into()),
            },
            Fix {
                id: "tcp_tw_reuse".into(),
                text: "net.ipv4.tcp_tw_reuse".into(),
                command: None,
                language: None,
                effect: None,
                applies: Applies::No,
                why: Some("It concerns outgoing connections only, never bind.".into()),
            },
        ],
        certainty: Certainty::Proven,
        missing: Vec::new(),
    }
}

/// How a recording begins.
pub fn header(ports: Vec<[u16; 2]>) -> Header {
    Header {
        schema: "1".into(),
        tcpstate: "0.1.0".into(),
        argv: vec!["tcpstate".into(), "watch".into()],
        host: "web1".into(),
        kernel: "6.12.0".into(),
        arch: "x86_64".into(),
        boot_id: "f3b1".into(),
        netns: None,
        netns_cookie: None,
        clock: ClockAnchor {
            mono_ns: START_NS,
            realtime: 1_795_000_000_000_000_000,
        },
        filters: Filters {
            ports,
            netns: Some(NETNS),
            ..Filters::default()
        },
        probes: vec![Probe {
            name: "inet_sock_set_state".into(),
            kind: "tp_btf".into(),
            status: ProbeStatus::Attached,
            why: None,
        }],
        capture: Capture::Functions,
        sysctls: Sysctls {
            tcp_fin_timeout: Some(60),
            ..Sysctls::default()
        },
        part: None,
    }
}

/// A bind of this socket that worked.
pub fn call(port: u16, by: &Arc<Process>, sock: Sock) -> Call {
    Call {
        sock: Some(sock),
        unprivileged_port_start: Some(1024),
        rtnetlink_inode: Some(4),
        ..Call::new(
            Requested {
                addr: Some(Ipv4Addr::UNSPECIFIED.into()),
                port,
            },
            Arc::clone(by),
        )
    }
}

fn change(sock: Sock, local: Endpoint, peer: Endpoint, old: State, new: State) -> StateChange {
    StateChange {
        sock,
        local,
        peer,
        old,
        new,
        old_raw: 0,
        new_raw: 0,
        process: None,
        reuse: Reuse::default(),
        error: None,
        listener: None,
        netns_cookie: None,
        mini: None,
    }
}

fn at(host: u8, port: u16) -> Endpoint {
    Endpoint {
        addr: Ipv4Addr::new(10, 0, 0, host).into(),
        port,
    }
}

fn any(port: u16) -> Endpoint {
    Endpoint {
        addr: Ipv4Addr::UNSPECIFIED.into(),
        port,
    }
}

fn none() -> Endpoint {
    any(0)
}
