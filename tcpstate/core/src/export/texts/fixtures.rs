//! A fixture for each cause, and for what makes its text another one.

use std::sync::Arc;

use crate::diagnosis::test_support::{
    Fixture, PLAIN, REUSE, held_by, holder, in_unit, left_by, mini, owned, process,
};
use crate::diagnosis::{KnownHolder, Origin, PastListener};
use crate::event::{Endpoint, Ipv6State, OnInterface, Process, Reuse, SeenSource, State};

const SHARED: Reuse = Reuse {
    reuseaddr: false,
    reuseport: true,
    v6only: false,
};

pub(super) fn fixtures() -> Vec<(&'static str, Fixture)> {
    let mut fixtures = listeners();
    fixtures.extend(closing());
    fixtures.extend(connections());
    fixtures.extend(addresses());
    fixtures.extend(refusals());
    fixtures.extend(choices());
    fixtures.extend(riddles());
    fixtures
}

fn server() -> Fixture {
    by(
        "python3",
        "/usr/bin/python3.11",
        Fixture::bind("0.0.0.0", 8080),
    )
}

/// The fixture with another program as the caller.
fn by(comm: &str, exe: &str, mut fixture: Fixture) -> Fixture {
    let mut caller = process(4802, comm);
    caller.exe = Some(exe.into());
    caller.cgroup = Some("/system.slice/web.service".into());
    caller.ppid = Some(1);
    caller.is_exe_here = true;
    fixture.call.process = in_unit(caller, "web.service", &[]).into();
    fixture
}

/// A listener on 0.0.0.0:8080 that this process has.
fn listened_by(process: Process, fixture: Fixture) -> Fixture {
    let mut held = holder(State::Listen, "0.0.0.0", 8080, REUSE);
    held.processes = Some(vec![Arc::new(process.clone())]);
    let known = KnownHolder {
        owner: Some(process.into()),
        origin: Origin::Listener,
        evidence: vec![3],
        ..KnownHolder::default()
    };
    fixture.with(held, known)
}

fn listeners() -> Vec<(&'static str, Fixture)> {
    let in_cgroup = |pid, comm, cgroup: &str| {
        let mut process = process(pid, comm);
        process.cgroup = Some(cgroup.into());
        process.ppid = Some(1);
        process
    };
    let mut dev = process(4711, "node");
    dev.ppid = Some(4600);
    dev.parent = Some("bash".into());
    let mut proxy = in_cgroup(612, "docker-proxy", "/system.slice/docker.service");
    proxy.argv = Some(
        ["-container-ip", "172.17.0.2", "-container-port", "80"]
            .map(String::from)
            .into(),
    );
    let id = "0123456789ab".to_owned() + &"cd".repeat(26);
    let mut contained = in_cgroup(900, "nginx", &format!("/system.slice/docker-{id}.scope"));
    contained.container = Some(id.as_str().into());
    contained.runtime = Some("docker".into());
    contained.container_uid = Some(0);
    let mut forged = contained.clone();
    forged.container_uid = Some(1000);
    let mut pod = in_cgroup(
        901,
        "envoy",
        &format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
    );
    pod.container = Some(id.as_str().into());
    pod.runtime = Some("containerd".into());
    pod.container_uid = Some(0);
    let unit = in_cgroup(4711, "nginx", "/system.slice/nginx.service");
    let unit = in_unit(unit, "nginx.service", &[]);
    let own_unit = in_cgroup(4711, "python3", "/system.slice/web.service");
    let own_unit = in_unit(own_unit, "web.service", &[]);
    let job = in_cgroup(4712, "backup", "/system.slice/cron.service");
    let job = in_unit(job, "cron.service", &[611]);
    let systemd = in_cgroup(1, "systemd", "/init.scope");
    let nobody = server().with(
        holder(State::Listen, "0.0.0.0", 8080, REUSE),
        KnownHolder::default(),
    );
    let second = {
        let mut own = holder(State::Bound, "0.0.0.0", 8080, REUSE);
        own.sock.cookie = 1;
        let fixture = by(
            "python3",
            "/usr/bin/python3.11",
            Fixture::listen("0.0.0.0", 8080),
        );
        listened_by(
            unit.clone(),
            fixture.reuse(REUSE).with(own, KnownHolder::default()),
        )
    };
    let mut itself = process(4802, "python3");
    itself.cgroup = Some("/system.slice/web.service".into());
    vec![
        ("active_listener", listened_by(unit, server().reuse(REUSE))),
        (
            "active_listener-container",
            listened_by(contained, server()),
        ),
        (
            "active_listener-container_that_a_user_made_up",
            listened_by(forged, server()),
        ),
        ("active_listener-itself", listened_by(itself, server())),
        (
            "active_listener-job_in_a_service",
            listened_by(job, server()),
        ),
        ("active_listener-listen", second),
        ("active_listener-plain_process", listened_by(dev, server())),
        ("active_listener-pod", listened_by(pod, server())),
        ("active_listener-proxy", listened_by(proxy, server())),
        (
            "active_listener-same_service",
            listened_by(own_unit, server()),
        ),
        ("active_listener-systemd", listened_by(systemd, server())),
        ("active_listener-unseen", nobody),
        (
            "inherited_listener",
            server().with(
                held_by(
                    holder(State::Listen, "0.0.0.0", 8080, REUSE),
                    &[(4750, "sleep"), (4751, "sh")],
                ),
                owned(4711, "python3", Origin::Listener),
            ),
        ),
        (
            "reuseport_mismatch",
            server().with(
                held_by(
                    holder(State::Listen, "0.0.0.0", 8080, SHARED),
                    &[(4711, "nginx")],
                ),
                owned(4711, "nginx", Origin::Listener),
            ),
        ),
        ("reuseport_mismatch-other_user", {
            let mut held = held_by(
                holder(State::Listen, "0.0.0.0", 8080, SHARED),
                &[(4711, "nginx")],
            );
            held.uid = Some(33);
            server()
                .reuse(SHARED)
                .with(held, owned(4711, "nginx", Origin::Listener))
        }),
    ]
}

fn closing() -> Vec<(&'static str, Fixture)> {
    let time_wait = |reuse, ms, port: u16| {
        let mut held = mini(State::TimeWait, 8080, reuse, ms);
        held.peer = Endpoint {
            addr: [10, 0, 0, 9].into(),
            port,
        };
        held
    };
    let python = || left_by(4711, "python3", Origin::Accepted);
    let three = |reuse, fixture: Fixture| {
        fixture
            .with(time_wait(reuse, 56_300, 50_001), python())
            .with(time_wait(reuse, 41_000, 50_002), python())
            .with(time_wait(REUSE, 2_000, 50_003), python())
    };
    let mut elsewhere = three(REUSE, server());
    elsewhere.environment.own_netns = Some(1);
    let mut named = elsewhere.clone();
    named.environment.netns_name = Some("blue".to_owned());
    let mut later = three(REUSE, server());
    later.seen().source = SeenSource::Snapshot;
    let go = by("api", "/srv/api", Fixture::bind("127.0.0.1", 8080));
    let go = {
        let mut fixture = three(REUSE, go);
        let mut caller = (*fixture.call.process).clone();
        caller.language = Some("go".into());
        fixture.call.process = caller.into();
        fixture
    };
    let ipv6 = {
        let mut held = time_wait(PLAIN, 48_000, 50_001);
        held.sock.family = crate::event::Family::Ipv6;
        held.local = Endpoint {
            addr: "::1".parse().expect("an address"),
            port: 8080,
        };
        held.peer.addr = "::1".parse().expect("an address");
        server().reuse(REUSE).with(held, python())
    };
    let orphan = mini(State::FinWait2, 8080, REUSE, 58_000);
    let last_ack = holder(State::LastAck, "10.0.0.1", 8080, PLAIN);
    vec![
        ("time_wait_no_reuse", three(REUSE, server())),
        ("time_wait_no_reuse-go", go),
        (
            "time_wait_no_reuse-incomplete",
            three(REUSE, server()).incomplete(),
        ),
        ("time_wait_no_reuse-other_namespace", elsewhere),
        ("time_wait_no_reuse-named_namespace", named),
        ("time_wait_no_reuse-read_later", later),
        (
            "time_wait_left_without_reuse",
            three(PLAIN, server().reuse(REUSE)),
        ),
        ("time_wait_left_without_reuse-both", three(PLAIN, server())),
        ("time_wait_left_without_reuse-ipv6", ipv6),
        ("closing", server().with(orphan, python())),
        (
            "closing-last_ack",
            server().with(last_ack, owned(4711, "python3", Origin::Accepted)),
        ),
    ]
}

fn connections() -> Vec<(&'static str, Fixture)> {
    let open = |state, pid, comm| held_by(holder(state, "10.0.0.1", 8080, PLAIN), &[(pid, comm)]);
    let outgoing = |state| {
        let mut held = held_by(holder(state, "10.0.0.1", 40_000, PLAIN), &[(77, "curl")]);
        held.is_connect_bound = Some(true);
        held
    };
    let in_range = || {
        by(
            "python3",
            "/usr/bin/python3.11",
            Fixture::bind("0.0.0.0", 40_000),
        )
    };
    let mut reserved = in_range().with(
        outgoing(State::Established),
        owned(77, "curl", Origin::Outgoing),
    );
    reserved.environment.local_reserved_ports = Some("9000-9010\n".into());
    let left = {
        let mut held = mini(State::TimeWait, 40_000, PLAIN, 31_000);
        held.is_connect_bound = Some(true);
        in_range().with(held, left_by(77, "curl", Origin::Outgoing))
    };
    let guessed = {
        let mut fixture = server().with(
            open(State::Established, 4750, "worker"),
            KnownHolder::default(),
        );
        fixture.last_listener = Some(PastListener {
            process: Some(process(4711, "python3").into()),
            closed_ms_ago: 2_500,
            seq: 4,
        });
        fixture
    };
    let reset = {
        let mut held = open(State::Bound, 77, "client");
        held.peer.port = 443;
        server().with(held, owned(77, "client", Origin::Outgoing))
    };
    let bound = held_by(
        holder(State::Bound, "0.0.0.0", 8080, PLAIN),
        &[(4711, "python3")],
    );
    vec![
        (
            "close_wait_leak",
            server()
                .with(
                    open(State::CloseWait, 4711, "java"),
                    owned(4711, "java", Origin::Accepted),
                )
                .with(
                    open(State::CloseWait, 4711, "java"),
                    owned(4711, "java", Origin::Accepted),
                ),
        ),
        (
            "established_leftover",
            server().with(
                open(State::Established, 4750, "worker"),
                owned(4711, "python3", Origin::Accepted),
            ),
        ),
        ("established_leftover-guessed", guessed),
        (
            "ephemeral_collision",
            in_range().with(
                outgoing(State::Established),
                owned(77, "curl", Origin::Outgoing),
            ),
        ),
        ("ephemeral_collision-others_reserved", reserved),
        ("ephemeral_collision-time_wait", left),
        (
            "bound_not_listening",
            server().with(bound, owned(4711, "python3", Origin::Unknown)),
        ),
        ("bound_not_listening-reset", reset),
    ]
}

fn addresses() -> Vec<(&'static str, Fixture)> {
    let dual = |local, fixture: Fixture| {
        fixture.with(
            held_by(holder(State::Listen, local, 8080, REUSE), &[(4711, "node")]),
            owned(4711, "node", Origin::Listener),
        )
    };
    let ipv6 = by("python3", "/usr/bin/python3.11", Fixture::bind("::", 8080));
    let missing = |addr| {
        by("python3", "/usr/bin/python3.11", Fixture::bind(addr, 8080)).fails(99, "EADDRNOTAVAIL")
    };
    let in_state = |mut fixture: Fixture, state: Ipv6State| {
        fixture.call.ipv6 = Some(Box::new(state));
        fixture
    };
    let on = |is_duplicate| Ipv6State {
        is_off: false,
        sources: 1,
        requested_on: vec![OnInterface {
            interface: "eth0".to_owned(),
            is_tentative: true,
            is_duplicate,
        }],
    };
    let without = |is_off| Ipv6State {
        is_off,
        sources: 0,
        requested_on: Vec::new(),
    };
    let beyond = by(
        "curl",
        "/usr/bin/curl",
        Fixture::connect(("::", 0), ("2001:db8::9", 443)),
    );
    let twice = {
        let mut fixture = server().fails(22, "EINVAL");
        fixture.call.local = Some(Endpoint {
            addr: [0, 0, 0, 0].into(),
            port: 8080,
        });
        fixture.call.requested.port = 8081;
        fixture
    };
    vec![
        ("dual_stack", dual("::", server())),
        ("dual_stack-new_one_is_ipv6", dual("0.0.0.0", ipv6)),
        ("address_not_local", missing("192.0.2.1")),
        ("address_not_local-ipv6", missing("2001:db8::1")),
        (
            "address_unusable-tentative",
            in_state(missing("2001:db8::1"), on(false)),
        ),
        (
            "address_unusable-duplicate",
            in_state(missing("2001:db8::1"), on(true)),
        ),
        (
            "address_unusable-off",
            in_state(missing("2001:db8::1"), without(true)),
        ),
        (
            "address_unusable-no_source",
            in_state(beyond, without(false)),
        ),
        ("already_bound", twice),
    ]
}

fn refusals() -> Vec<(&'static str, Fixture)> {
    let low = || {
        let mut fixture =
            by("caddy", "/usr/bin/caddy", Fixture::bind("0.0.0.0", 80)).fails(13, "EACCES");
        let mut caller = (*fixture.call.process).clone();
        caller.uid = 1000;
        fixture.call.process = caller.into();
        fixture.has_net_bind_service = Some(false);
        fixture
    };
    let mut taken = low();
    taken.seen().source = SeenSource::Snapshot;
    let taken = taken.with(
        held_by(
            holder(State::Listen, "0.0.0.0", 80, REUSE),
            &[(612, "nginx")],
        ),
        owned(612, "nginx", Origin::Listener),
    );
    let mut blind = low();
    blind.call.seen = None;
    let connect = by(
        "python3",
        "/usr/bin/python3.11",
        Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443)),
    );
    vec![
        ("privileged_port", low()),
        ("privileged_port-not_looked_at", blind),
        ("privileged_port-taken", taken),
        ("denied_by_policy", server().fails(1, "EPERM")),
        ("denied_by_policy-connect", connect.fails(1, "EPERM")),
    ]
}

fn choices() -> Vec<(&'static str, Fixture)> {
    let python = |fixture| by("python3", "/usr/bin/python3.11", fixture);
    let mut connect = python(Fixture::connect(("0.0.0.0", 0), ("10.0.0.9", 443)));
    connect.call.seen = None;
    let same = {
        let mut held = mini(State::TimeWait, 40_000, PLAIN, 31_000);
        held.local.addr = [10, 0, 0, 1].into();
        python(Fixture::connect(("10.0.0.1", 40_000), ("10.0.0.9", 443)))
            .with(held, left_by(77, "curl", Origin::Outgoing))
    };
    vec![
        ("ephemeral_exhausted", python(Fixture::bind("127.0.0.1", 0))),
        ("ephemeral_exhausted-connect", connect),
        ("four_tuple_in_use", same),
    ]
}

fn riddles() -> Vec<(&'static str, Fixture)> {
    let mut gone = server();
    gone.last_listener = Some(PastListener {
        process: Some(process(4711, "python3").into()),
        closed_ms_ago: 12,
        seq: 4,
    });
    let mut unseen = server();
    unseen.call.seen = None;
    let mut lost = server();
    lost.missing = vec!["12 events were lost before this".to_owned()];
    let link_local = by(
        "python3",
        "/usr/bin/python3.11",
        Fixture::bind("fe80::1", 8080),
    );
    let connected = by(
        "python3",
        "/usr/bin/python3.11",
        Fixture::listen("10.0.0.1", 8080),
    );
    vec![
        ("holder_gone", gone),
        ("unknown", lost),
        ("unknown-link_local", link_local.fails(22, "EINVAL")),
        ("unknown-listen", connected.fails(22, "EINVAL")),
        ("unknown-not_looked_at", unseen),
    ]
}
