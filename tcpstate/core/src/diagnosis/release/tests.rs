use std::net::IpAddr;

use super::*;
use crate::diagnosis::Environment;
use crate::diagnosis::test_support::{
    NETNS, PLAIN, REUSE, endpoint, holder, in_unit, mini, process,
};
use crate::event::{Family, Halted, Seen, SeenSource, StepKind};

/// Of root, for 0.0.0.0:8080, without options, asked by `tcpstate[900]` in `sh[800]`.
fn planned(holders: Vec<SeenHolder>) -> Plan {
    planned_by(&releaser(), PLAIN, holders)
}

fn releaser() -> Releaser {
    Releaser {
        own: process(900, "tcpstate").into(),
        lineage: [900, 800, 1].into(),
        units: BTreeMap::new(),
        linux: Some((6, 12)),
    }
}

fn planned_by(releaser: &Releaser, reuse: crate::event::Reuse, holders: Vec<SeenHolder>) -> Plan {
    let seen = Seen {
        source: SeenSource::Snapshot,
        is_complete: true,
        visited: u32::try_from(holders.len()).unwrap(),
        holders,
        holders_more: 0,
        sharing: None,
        admits_reuseaddr: false,
        processes_unread: None,
    };
    let environment = Environment {
        local_port_range: Some([32_768, 60_999]),
        own_netns: Some(NETNS),
        rtnetlink_inode: Some(4),
        ..Environment::default()
    };
    let addr: IpAddr = "0.0.0.0".parse().unwrap();
    plan(
        &Question {
            addr,
            port: 8080,
            family: Family::Ipv4,
            reuse,
            device: None,
            uid: 0,
            netns: NETNS,
            has_net_bind_service: true,
            ipv6: None,
            address_error: None,
            seen: Some(&seen),
            environment: &environment,
            tried: None,
            missing: &[],
            ancestors: &[],
        },
        releaser,
    )
}

fn running(pid: u32, comm: &str) -> Process {
    Process {
        start_ticks: Some(u64::from(pid) * 10),
        ppid: Some(800),
        parent: Some("sh".into()),
        ..process(pid, comm)
    }
}

fn open_in(state: State, processes: Vec<Process>) -> SeenHolder {
    let mut seen = holder(state, "127.0.0.1", 8080, PLAIN);
    seen.processes = Some(processes.into_iter().map(Arc::new).collect());
    seen.is_connect_bound = Some(false);
    seen.is_port_locked = Some(matches!(state, State::Listen | State::Bound));
    seen
}

fn listener(processes: Vec<Process>) -> SeenHolder {
    open_in(State::Listen, processes)
}

fn accepted(state: State, peer: u16, processes: Vec<Process>) -> SeenHolder {
    let mut seen = open_in(state, processes);
    seen.peer = endpoint("10.0.0.9", peer);
    seen.sock.cookie = 1000 + u64::from(peer);
    seen
}

/// The steps, as `kind target`.
fn steps(plan: &Plan) -> Vec<String> {
    let line = |step: &PlannedStep| {
        let kind = serde_json::to_value(step.description.step).unwrap();
        format!("{} {}", kind.as_str().unwrap(), step.description.target)
    };
    plan.steps.iter().map(line).collect()
}

fn refused(plan: &Plan) -> Vec<(RefusedFor, &str)> {
    let all = plan.refusals.iter();
    all.map(|refusal| (refusal.why, &*refusal.target)).collect()
}

#[test]
fn a_port_that_is_free_needs_nothing() {
    let free = planned(Vec::new());
    let shared = planned_by(
        &releaser(),
        REUSE,
        vec![mini(State::TimeWait, 8080, REUSE, 9)],
    );

    for plan in [free, shared] {
        assert_eq!(plan.would_listen, YesNo::Yes);
        assert!(plan.steps.is_empty() && plan.refusals.is_empty());
    }
}

#[test]
fn what_nobody_has_open_is_destroyed_by_its_cookie_and_nobody_is_stopped() {
    let plan = planned(vec![
        mini(State::TimeWait, 8080, PLAIN, 57_000),
        mini(State::FinWait2, 8080, PLAIN, 57_000),
    ]);

    assert_eq!(steps(&plan), ["destroy_sockets 2 connections"]);
    let Act::DestroySockets(sockets) = &plan.steps[0].act else {
        panic!("{plan:?}");
    };
    assert_eq!(sockets.len(), 2);
    assert!(sockets.iter().all(|s| s.sock.cookie != 0 && !s.is_owned));
    let description = &plan.steps[0].description;
    assert!(
        description
            .command
            .as_ref()
            .unwrap()
            .contains(" ss -Kt state ")
    );
    assert!(description.loses.is_some());
}

#[test]
fn a_listener_goes_with_its_process_and_its_connections_are_counted() {
    let server = || running(10, "web");
    let plan = planned(vec![
        listener(vec![server()]),
        accepted(State::Established, 1, vec![server()]),
        accepted(State::CloseWait, 2, vec![server()]),
        mini(State::TimeWait, 8080, PLAIN, 9),
    ]);

    assert_eq!(
        steps(&plan),
        [
            "destroy_sockets 1 connection",
            "stop_process web[10]",
            "destroy_sockets what is left then"
        ]
    );
    let stop = &plan.steps[1];
    assert_eq!(
        stop.description.loses.as_deref(),
        Some("1 established connection and 1 half-closed connection, and whatever else it does")
    );
    assert_eq!(
        stop.description.text,
        "Stop web[10], which sh[800] started, with SIGTERM"
    );
    let Act::StopProcess(target) = &stop.act else {
        panic!("{stop:?}");
    };
    assert_eq!((target.start_ticks, target.inodes.len()), (100, 1));
    assert!(plan.connections.contains(&1001) && plan.connections.contains(&1002));
}

#[test]
fn the_connections_of_a_process_that_does_not_serve_are_destroyed_and_it_stays() {
    for state in [State::CloseWait, State::Established] {
        let plan = planned(vec![accepted(state, 1, vec![running(10, "worker")])]);

        assert_eq!(steps(&plan), ["destroy_sockets 1 connection"], "{state:?}");
        let loses = plan.steps[0].description.loses.as_deref().unwrap();
        assert!(loses.ends_with("worker[10] stays"), "{loses}");
    }
}

#[test]
fn an_outgoing_connection_is_destroyed_and_its_process_is_never_stopped() {
    let mut chosen = accepted(State::Established, 443, vec![running(10, "curl")]);
    chosen.is_connect_bound = Some(true);
    let mut fixed = accepted(State::Established, 443, vec![running(10, "curl")]);
    fixed.is_port_locked = Some(true);
    // What a destroyed one leaves behind.
    let mut ended = fixed.clone();
    ended.state = State::Closed;

    let plan = planned(vec![chosen]);

    assert_eq!(steps(&plan), ["destroy_sockets 1 connection"]);
    for left in [fixed, ended] {
        let plan = planned(vec![left]);
        assert_eq!(refused(&plan), [(RefusedFor::Outgoing, "curl[10]")]);
        assert!(plan.steps.is_empty());
    }
}

#[test]
fn the_kernel_the_first_process_and_ones_own_line_are_left_alone() {
    let mut systemd = running(1, "systemd");
    systemd.ppid = None;
    for (holding, why) in [
        (Process::kernel(), RefusedFor::Kernel),
        (systemd, RefusedFor::Init),
        (running(1, "init"), RefusedFor::Init),
        (running(900, "tcpstate"), RefusedFor::Itself),
        (running(800, "sh"), RefusedFor::Ancestor),
        (running(77, "docker-proxy"), RefusedFor::HeldForAnother),
    ] {
        for state in [State::Listen, State::Established] {
            let held = accepted(state, 1, vec![running(10, "web"), holding.clone()]);
            let plan = planned(vec![held, mini(State::TimeWait, 8080, PLAIN, 9)]);

            assert_eq!(plan.refusals.len(), 1, "{plan:?}");
            assert_eq!(plan.refusals[0].why, why, "{plan:?}");
            assert!(plan.steps.is_empty(), "nothing would free it: {plan:?}");
        }
    }
}

#[test]
fn a_client_of_the_port_is_in_no_plan() {
    let mut client = accepted(State::Established, 8080, vec![running(20, "client")]);
    client.local.port = 40_000;
    let plan = planned(vec![listener(vec![running(10, "web")])]);
    let with_client = planned(vec![listener(vec![running(10, "web")]), client]);

    assert_eq!(steps(&plan), steps(&with_client));
}

#[test]
fn parents_come_before_their_children() {
    let master = running(30, "web");
    let worker = Process {
        ppid: Some(30),
        ..running(20, "web")
    };

    let plan = planned(vec![listener(vec![worker, master])]);

    assert_eq!(
        steps(&plan)[..2],
        ["stop_process web[30]", "stop_process web[20]"]
    );
    assert!(
        plan.steps[1]
            .description
            .text
            .ends_with("unless it ends with its parent")
    );
}

#[test]
fn a_unit_is_stopped_if_it_is_theirs_alone_and_its_processes_are_named() {
    let server = in_unit(running(10, "web"), "web.service", &[]);
    let job = in_unit(running(11, "job"), "cron.service", &[9]);
    let mut releaser = releaser();
    let member = |pid, comm: &str| UnitMember {
        pid,
        comm: comm.into(),
    };
    releaser.units.insert(
        "web.service".to_owned(),
        vec![member(10, "web"), member(12, "logger")],
    );

    let unit = planned_by(&releaser, PLAIN, vec![listener(vec![server.clone()])]);
    let alone = planned(vec![listener(vec![job])]);
    releaser.own = in_unit(process(900, "tcpstate"), "web.service", &[]).into();
    let ours = planned_by(&releaser, PLAIN, vec![listener(vec![server])]);

    assert_eq!(steps(&unit)[0], "stop_unit web.service");
    assert_eq!(
        unit.steps[0].description.loses.as_deref(),
        Some("0 established connections; besides, logger[12] of the service")
    );
    let Act::StopUnit { stop, .. } = &unit.steps[0].act else {
        panic!("{unit:?}");
    };
    assert_eq!(stop, &["systemctl", "stop", "web.service"]);
    assert_eq!(steps(&alone)[0], "stop_process job[11]");
    assert!(
        alone.steps[0]
            .description
            .loses
            .as_ref()
            .unwrap()
            .contains("cron.service goes on"),
        "{alone:?}"
    );
    // It would end with it.
    assert_eq!(steps(&ours)[0], "stop_process web[10]");
}

#[test]
fn a_container_is_stopped_if_root_made_it() {
    let id = "4f".repeat(32);
    let inside = |made_by| Process {
        container: Some(id.as_str().into()),
        runtime: Some("docker".into()),
        container_uid: made_by,
        ..running(10, "web")
    };

    let real = planned(vec![listener(vec![inside(Some(0))])]);
    let claimed = planned(vec![listener(vec![inside(Some(1000))])]);

    assert_eq!(steps(&real)[0], "stop_container 4f4f4f4f4f4f");
    assert_eq!(
        real.steps[0].description.command.as_deref(),
        Some("docker stop 4f4f4f4f4f4f")
    );
    assert_eq!(steps(&claimed)[0], "stop_process web[10]");
}

#[test]
fn a_connection_of_what_ends_with_the_unit_or_the_container_is_no_step_of_its_own() {
    let inside = |pid| Process {
        container: Some("4f".repeat(32).into()),
        runtime: Some("docker".into()),
        container_uid: Some(0),
        ..running(pid, "web")
    };
    let served = |pid| Process {
        ppid: Some(10),
        ..in_unit(running(pid, "web"), "web.service", &[10])
    };
    let master = in_unit(running(10, "web"), "web.service", &[]);
    let job = in_unit(running(10, "job"), "web.service", &[9]);
    let plan = |holder, connected| {
        planned(vec![
            listener(vec![holder]),
            accepted(State::Established, 40_001, vec![connected]),
        ])
    };

    for (plan, first) in [
        (plan(inside(10), inside(11)), "stop_container 4f4f4f4f4f4f"),
        (plan(master, served(11)), "stop_unit web.service"),
    ] {
        assert_eq!(steps(&plan), [first, "destroy_sockets what is left then"]);
        let loses = plan.steps[0].description.loses.as_deref().unwrap();
        assert!(loses.starts_with("1 established connection"), "{loses}");
        assert!(plan.connections.contains(&41_001), "{plan:?}");
    }
    // Only the job is stopped, and not what runs beside it.
    let beside = plan(job, served(11));
    assert_eq!(steps(&beside)[0], "destroy_sockets 1 connection");
}

#[test]
fn what_ends_with_a_remote_forward_is_said() {
    let of_session = Process {
        argv: Some(vec!["sshd: web@notty".to_owned()].into()),
        ..running(10, "sshd")
    };

    let plan = planned(vec![listener(vec![of_session])]);

    let loses = plan.steps[0].description.loses.as_deref().unwrap();
    assert!(
        loses.contains("ssh -R") && loses.contains("all its sessions"),
        "{loses}"
    );
}

#[test]
fn before_linux_6_0_a_time_wait_is_said_to_be_waited_for() {
    let time_wait = || vec![mini(State::TimeWait, 8080, PLAIN, 57_000)];
    let old = Releaser {
        linux: Some((5, 10)),
        ..releaser()
    };

    let (before, since) = (
        planned_by(&old, PLAIN, time_wait()),
        planned_by(&releaser(), PLAIN, time_wait()),
    );

    let text = |plan: &Plan| plan.steps[0].description.text.clone();
    assert!(text(&before).contains("Linux 5.10 cannot destroy a TIME_WAIT"));
    assert!(text(&before).contains("--timeout"));
    assert!(!text(&since).contains("Linux"));
}

#[test]
fn who_was_not_seen_or_may_be_another_is_not_stopped() {
    let mut numbered = running(10, "web");
    numbered.start_ticks = None;

    let unseen = planned(vec![listener(Vec::new())]);
    let no_start = planned(vec![listener(vec![numbered])]);

    assert_eq!(refused(&unseen)[0].0, RefusedFor::NotSeen);
    assert_eq!(
        unseen.refusals[0].command.as_deref(),
        Some("ss -Htanp sport = :8080")
    );
    assert_eq!(refused(&no_start)[0].0, RefusedFor::NotCertain);
    assert!(unseen.steps.is_empty() && no_start.steps.is_empty());
}

#[test]
fn a_socket_whose_options_were_not_read_is_left_alone_where_they_decide() {
    let mut unread = mini(State::TimeWait, 8080, PLAIN, 9);
    unread.reuse = None;

    let with_reuse = planned_by(&releaser(), REUSE, vec![unread.clone()]);
    let without = planned(vec![unread]);

    assert_eq!(refused(&with_reuse)[0].0, RefusedFor::NotCertain);
    assert!(with_reuse.steps.is_empty());
    assert_eq!(steps(&without), ["destroy_sockets 1 connection"]);
}

#[test]
fn a_connection_that_nobody_has_accepted_yet_ends_with_its_listener() {
    let mut queued = accepted(State::Established, 1, Vec::new());
    queued.inode = None;
    queued.processes = None;

    let plan = planned(vec![listener(vec![running(10, "web")]), queued]);

    assert_eq!(steps(&plan)[0], "stop_process web[10]");
    assert!(
        plan.steps[0]
            .description
            .loses
            .as_ref()
            .unwrap()
            .starts_with("1 established connection,")
    );
}

#[test]
fn a_stopped_process_is_continued() {
    let mut stopped = running(10, "web");
    stopped.halted = Some(Halted::Stopped);

    let plan = planned(vec![listener(vec![stopped])]);

    assert!(
        plan.steps[0]
            .description
            .text
            .contains("SIGTERM and SIGCONT")
    );
    assert_eq!(plan.steps[0].description.step, StepKind::StopProcess);
}

#[test]
fn names_that_processes_chose_are_harmless_in_every_step() {
    let evil = "a\u{1b}[2J$(x)\n";
    for state in [State::Listen, State::CloseWait] {
        let mut process = running(10, evil);
        process.parent = Some(evil.into());
        let plan = planned(vec![accepted(state, 1, vec![process])]);

        for step in &plan.steps {
            let description = &step.description;
            for text in [&description.text, &description.target]
                .into_iter()
                .chain(&description.loses)
            {
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
        assert!(!plan.steps.is_empty());
    }
}

#[test]
fn what_is_printed_and_what_is_done_name_the_same() {
    // The advice of `explain` for the same sockets has the same commands.
    use crate::diagnosis::test_support::Fixture;
    let held = vec![
        listener(vec![in_unit(running(10, "web"), "web.service", &[])]),
        mini(State::TimeWait, 8080, PLAIN, 57_000),
    ];
    for holder in held {
        let advice = Fixture::bind("0.0.0.0", 8080)
            .with(holder.clone(), KnownHolder::default())
            .diagnose();
        let printed: Vec<&str> = advice
            .fixes
            .iter()
            .filter_map(|fix| fix.command.as_deref())
            .collect();
        let plan = planned(vec![holder]);
        let command = plan.steps[0].description.command.as_deref().unwrap();
        assert!(printed.contains(&command), "{command}: {printed:?}");
    }
}
