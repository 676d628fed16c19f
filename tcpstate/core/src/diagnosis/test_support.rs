//! Builders for failed calls, and one fixture per cause for the tests that must
//! hold for all.

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{
    Call, Diagnosis, Endpoint, Family, Ipv6State, KnownBy, OnInterface, Process, Requested, Reuse,
    Seen, SeenHolder, SeenSource, Sock, State, Unit, UnitMember,
};

use super::{CallKind, Environment, Failure, KnownHolder, Origin, PastListener, diagnose};

pub(crate) const REUSE: Reuse = Reuse {
    reuseaddr: true,
    reuseport: false,
    v6only: false,
};
pub(crate) const PLAIN: Reuse = Reuse {
    reuseaddr: false,
    reuseport: false,
    v6only: false,
};

/// The namespace of every fixture, and of who looks at it.
pub(crate) const NETNS: u32 = 4_026_531_840;

/// A failed call under construction.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) kind: CallKind,
    pub(crate) call: Call,
    pub(crate) known: Vec<KnownHolder>,
    pub(crate) environment: Environment,
    pub(crate) has_net_bind_service: Option<bool>,
    pub(crate) last_listener: Option<PastListener>,
    pub(crate) missing: Vec<String>,
}

impl Fixture {
    /// `bind` of `server[900]` that fails with EADDRINUSE on an empty port.
    pub(crate) fn bind(addr: &str, port: u16) -> Self {
        let addr: IpAddr = addr.parse().expect("an address");
        Self {
            kind: CallKind::Bind,
            call: Call {
                ok: false,
                errno: Some(98),
                errno_name: Some("EADDRINUSE".into()),
                sock: Some(sock(1, addr)),
                reuse: PLAIN,
                unprivileged_port_start: Some(1024),
                seen: Some(Seen {
                    source: SeenSource::BindBucket,
                    is_complete: true,
                    visited: 0,
                    holders: Vec::new(),
                    holders_more: 0,
                    sharing: None,
                    admits_reuseaddr: false,
                    processes_unread: None,
                }),
                ..Call::new(
                    Requested {
                        addr: Some(addr),
                        port,
                    },
                    process(900, "server").into(),
                )
            },
            known: Vec::new(),
            environment: Environment {
                local_port_range: Some([32768, 60999]),
                own_netns: Some(NETNS),
                rtnetlink_inode: Some(4),
                ..Environment::default()
            },
            has_net_bind_service: None,
            last_listener: None,
            missing: Vec::new(),
        }
    }

    pub(crate) fn listen(addr: &str, port: u16) -> Self {
        let mut fixture = Self::bind(addr, port);
        fixture.kind = CallKind::Listen;
        fixture.call.local = Some(endpoint(addr, port));
        fixture
    }

    /// `connect` that fails with EADDRNOTAVAIL; port 0: not bound before.
    pub(crate) fn connect(local: (&str, u16), peer: (&str, u16)) -> Self {
        let mut fixture = Self::bind(peer.0, peer.1).fails(99, "EADDRNOTAVAIL");
        fixture.kind = CallKind::Connect;
        fixture.call.local = (local.1 != 0).then(|| endpoint(local.0, local.1));
        fixture
    }

    pub(crate) fn fails(mut self, errno: u32, name: &str) -> Self {
        self.call.errno = Some(errno);
        self.call.errno_name = Some(name.into());
        self
    }

    pub(crate) fn no_errno_name(mut self) -> Self {
        self.call.errno_name = None;
        self
    }

    pub(crate) fn reuse(mut self, reuse: Reuse) -> Self {
        self.call.reuse = reuse;
        self
    }

    pub(crate) fn seen(&mut self) -> &mut Seen {
        self.call
            .seen
            .as_mut()
            .expect("no test takes it away first")
    }

    pub(crate) fn with(mut self, holder: SeenHolder, known: KnownHolder) -> Self {
        let seen = self.seen();
        seen.visited += 1;
        seen.holders.push(holder);
        self.known.push(known);
        self
    }

    pub(crate) fn incomplete(mut self) -> Self {
        self.seen().is_complete = false;
        self
    }

    pub(crate) fn with_failure<T>(&self, use_it: impl FnOnce(&Failure<'_>) -> T) -> T {
        use_it(&Failure {
            seq: 7,
            kind: self.kind,
            call: &self.call,
            known: &self.known,
            environment: &self.environment,
            has_net_bind_service: self.has_net_bind_service,
            last_listener: self.last_listener.as_ref(),
            missing: &self.missing,
            is_question: false,
        })
    }

    pub(crate) fn diagnose(&self) -> Diagnosis {
        self.with_failure(diagnose)
    }
}

/// The command of the fix with this name.
pub(crate) fn command<'a>(diagnosis: &'a Diagnosis, id: &str) -> Option<&'a str> {
    let fix = diagnosis.fixes.iter().find(|fix| &*fix.id == id)?;
    fix.command.as_deref()
}

/// The line that runs the words only in the namespace of every fixture.
pub(crate) fn here(words: &str) -> String {
    let check = r#"[ $(awk "\$2\$3==\"00\"{print\$10}" /proc/self/net/netlink) = ${0#*.} ] && exec "$@"; ! echo not in netns $0"#;
    format!("sh -c '{check}' {NETNS}.4 {words}")
}

/// A socket of the port, owned by user 0 with a descriptor.
pub(crate) fn holder(state: State, local: &str, port: u16, reuse: Reuse) -> SeenHolder {
    let addr: IpAddr = local.parse().expect("an address");
    let has_peer = !matches!(state, State::Listen | State::Bound | State::Closed);
    SeenHolder {
        sock: sock(2, addr),
        local: endpoint(local, port),
        peer: if has_peer {
            endpoint("10.0.0.9", 443)
        } else {
            endpoint("0.0.0.0", 0)
        },
        state,
        is_mini: false,
        reuse: Some(reuse),
        v6only: None,
        bound_dev_if: None,
        uid: Some(0),
        is_connect_bound: None,
        is_port_locked: None,
        inode: Some(4242),
        expires_ms: None,
        alike: 0,
        is_tripped_over: false,
        processes: None,
        processes_more: 0,
        is_opener_gone: false,
    }
}

/// A mini-socket with `expires_ms` left.
pub(crate) fn mini(state: State, port: u16, reuse: Reuse, expires_ms: u64) -> SeenHolder {
    SeenHolder {
        is_mini: true,
        uid: None,
        inode: None,
        expires_ms: Some(expires_ms),
        ..holder(state, "127.0.0.1", port, reuse)
    }
}

pub(crate) fn held_by(mut holder: SeenHolder, processes: &[(u32, &str)]) -> SeenHolder {
    let processes = processes
        .iter()
        .map(|&(pid, comm)| Arc::new(process(pid, comm)));
    holder.processes = Some(processes.collect());
    holder
}

pub(crate) fn owned(pid: u32, comm: &str, origin: Origin) -> KnownHolder {
    KnownHolder {
        owner: Some(process(pid, comm).into()),
        origin,
        evidence: vec![3],
        ..KnownHolder::default()
    }
}

pub(crate) fn left_by(pid: u32, comm: &str, origin: Origin) -> KnownHolder {
    KnownHolder {
        left_by: Some(process(pid, comm).into()),
        origin,
        evidence: vec![4],
        ..KnownHolder::default()
    }
}

pub(crate) fn process(pid: u32, comm: &str) -> Process {
    Process::new(pid, 0, comm, KnownBy::Syscall)
}

/// The process in a service that root made, beside others that do not descend from it.
pub(crate) fn in_unit(process: Process, name: &str, others: &[u32]) -> Process {
    let others = others.iter().map(|&pid| UnitMember {
        pid,
        comm: "other".into(),
    });
    Process {
        unit: Some(Arc::new(Unit {
            name: name.to_owned(),
            others: others.collect(),
            more: 0,
        })),
        ..process
    }
}

pub(crate) fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint {
        addr: addr.parse().expect("an address"),
        port,
    }
}

fn sock(cookie: u64, addr: IpAddr) -> Sock {
    Sock {
        cookie,
        netns: NETNS,
        family: if addr.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        },
    }
}

/// Calls, errors, holders, options and knowledge in many combinations, odd
/// ones included.
pub(crate) fn every_fixture() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for base in [
        Fixture::bind("0.0.0.0", 8080),
        Fixture::bind("127.0.0.1", 80),
        Fixture::bind("::", 40000),
        Fixture::bind("0.0.0.0", 0),
        Fixture::listen("0.0.0.0", 8080),
        Fixture::connect(("10.0.0.1", 8080), ("10.0.0.9", 443)),
        Fixture::connect(("10.0.0.1", 0), ("10.0.0.9", 443)),
    ] {
        for (errno, name) in [
            (1, "EPERM"),
            (13, "EACCES"),
            (22, "EINVAL"),
            (98, "EADDRINUSE"),
            (99, "EADDRNOTAVAIL"),
            (111, "ECONNREFUSED"),
        ] {
            fixtures.extend(with_every_holder(&base.clone().fails(errno, name)));
        }
    }
    fixtures.extend(unusable_addresses());
    fixtures
}

fn unusable_addresses() -> Vec<Fixture> {
    let on = |is_tentative, is_duplicate| OnInterface {
        interface: "eth0".to_owned(),
        is_tentative,
        is_duplicate,
    };
    let states = [
        (true, vec![]),
        (false, vec![on(true, false)]),
        (false, vec![on(true, true)]),
    ];
    let mut fixtures = Vec::new();
    for (is_off, requested_on) in states {
        for mut fixture in [
            Fixture::bind("2001:db8::1", 8080).fails(99, "EADDRNOTAVAIL"),
            Fixture::connect(("::", 0), ("2001:db8::9", 443)).fails(99, "EADDRNOTAVAIL"),
        ] {
            fixture.call.ipv6 = Some(Box::new(Ipv6State {
                is_off,
                sources: 0,
                requested_on: requested_on.clone(),
            }));
            fixtures.push(fixture);
        }
    }
    fixtures
}

fn with_every_holder(base: &Fixture) -> Vec<Fixture> {
    let port = base.call.requested.port;
    let mut fixtures = vec![base.clone(), base.clone().incomplete()];
    for odd in [
        |fixture: &mut Fixture| fixture.call.seen = None,
        |fixture: &mut Fixture| fixture.call.requested.addr = None,
        |fixture: &mut Fixture| (fixture.call.errno, fixture.call.errno_name) = (None, None),
        |fixture: &mut Fixture| fixture.call.sock = None,
        |fixture: &mut Fixture| {
            fixture.last_listener = Some(PastListener {
                process: None,
                closed_ms_ago: 5,
                seq: 1,
            });
        },
    ] {
        let mut fixture = base.clone();
        odd(&mut fixture);
        fixtures.push(fixture);
    }
    for state in State::ALL {
        for (first, second) in [
            ("127.0.0.1", "::"),
            ("::1", "0.0.0.0"),
            ("::ffff:127.0.0.1", "::1"),
        ] {
            for reuse in [PLAIN, REUSE] {
                let origin = if reuse.reuseaddr {
                    Origin::Accepted
                } else {
                    Origin::Outgoing
                };
                let fixture = base
                    .clone()
                    .with(holder(state, first, port, reuse), owned(10, "old", origin));
                fixtures.push(fixture.clone());
                let fixture = fixture.with(
                    mini(State::TimeWait, port, PLAIN, 30_000),
                    KnownHolder::default(),
                );
                fixtures.push(fixture.clone());
                let mut fixture = fixture.with(
                    held_by(holder(State::Listen, second, port, reuse), &[(11, "child")]),
                    owned(10, "old", Origin::Listener),
                );
                fixtures.push(fixture.clone());
                fixture.known.truncate(1);
                fixture.seen().holders[0].reuse = None;
                fixtures.push(fixture);
            }
        }
    }
    fixtures
}
