//! What is advised before anything is stopped.

use super::*;
use crate::event::{Halted, RelationName};

#[test]
fn stopping_is_not_first_where_the_holder_is_the_parent_or_another_start() {
    let parent = running(20, 1, &["web", "--master"]);
    let child = running(21, 20, &["web", "--worker"]);
    let other = running(30, 5, &["web", "--master"]);

    let of_parent = asked_by(child.clone(), vec![parent.clone()]);
    let of_child = asked_by(parent.clone(), vec![child]);
    let second_start = asked_by(other.clone(), vec![parent.clone()]);
    let of_init = asked_by(running(40, 1, &["x"]), vec![process(1, "init")]);

    assert_eq!(first(&of_parent), "leave_to_parent");
    assert!(
        of_parent
            .diagnose()
            .summary
            .contains("web[20], the parent of web[21], listens"),
        "{}",
        of_parent.diagnose().summary
    );
    assert_eq!(first(&of_child), "stop_holder");
    assert!(
        of_child
            .diagnose()
            .summary
            .contains("web[21], a child of web[20], listens")
    );
    assert_eq!(first(&second_start), "already_running");
    assert!(!of_init.diagnose().summary.contains("parent"));
}

#[test]
fn an_ancestor_is_left_alone_and_whoever_asks_beforehand_is_told_so() {
    let top = running(20, 1, &["ide"]);
    let caller = below(
        running(22, 21, &["web"]),
        &[(21, "sh", None), (20, "ide", None)],
    );

    let diagnosis = asked_by(caller, vec![top.clone()]).diagnose();
    let fixture = asked_by(process(0, "a new server"), vec![top]);
    let mut asked = fixture.clone();
    asked.call.process = below(process(0, "a new server"), &[(20, "ide", None)]).into();

    assert_eq!(&*diagnosis.fixes[0].id, "leave_to_parent");
    assert_eq!(diagnosis.holders[0].relation, Some(RelationName::Ancestor));
    assert!(
        diagnosis
            .summary
            .contains("web[20], an ancestor of web[22], listens"),
        "{}",
        diagnosis.summary
    );
    assert_eq!(first(&fixture), "stop_holder");
    assert_eq!(first(&asked), "leave_to_parent");
    assert!(
        asked
            .diagnose()
            .summary
            .contains("which this very program was started from")
    );
}

#[test]
fn a_healthy_instance_stays_and_what_a_wrapper_left_behind_does_not() {
    let server = running(20, 1, &["web", "--port=1"]);
    let mut orphan = below(server.clone(), &[]);
    std::sync::Arc::make_mut(orphan.identity.as_mut().unwrap()).is_orphan = true;
    let mut stopped = server.clone();
    stopped.halted = Some(Halted::Stopped);
    let caller = running(30, 5, &["web", "--port=2"]);
    let by = |holder: Process| first(&asked_by(caller.clone(), vec![holder]));

    assert_eq!(by(server), "already_running");
    assert_eq!(by(orphan), "stop_holder");
    assert_eq!(by(stopped), "continue_holder");
}

#[test]
fn a_test_of_the_configuration_wants_nothing_stopped() {
    let nginx = |pid, argv: &[&str]| Process {
        exe: Some("/usr/sbin/nginx".into()),
        ..running(pid, 1, argv)
    };
    let fixture = asked_by(
        nginx(30, &["nginx", "-t"]),
        vec![
            nginx(20, &["nginx: master process nginx"]),
            Process {
                ppid: Some(20),
                ..nginx(21, &["nginx: worker process"])
            },
        ],
    );

    let diagnosis = fixture.diagnose();

    assert_eq!(&*diagnosis.fixes[0].id, "already_running");
    assert!(
        diagnosis.fixes[0]
            .text
            .contains("only tests the configuration")
    );
    assert!(
        diagnosis
            .summary
            .contains("web[20] and web[21], whose configuration web[30] tests,"),
        "{}",
        diagnosis.summary
    );
}

#[test]
fn a_stop_command_with_the_servers_options_is_to_go_without_them() {
    let java = |pid, last| {
        let argv = [
            "java",
            "-Dcom.sun.management.jmxremote.port=8080",
            "Main",
            last,
        ];
        Process {
            exe: Some("/usr/bin/java".into()),
            ..running(pid, 1, &argv)
        }
    };

    let diagnosis = asked_by(java(30, "stop"), vec![java(20, "start")]).diagnose();

    assert_eq!(&*diagnosis.fixes[0].id, "leave_out_option");
    assert!(diagnosis.fixes[0].text.contains("jmxremote.port=8080"));
    assert_eq!(
        diagnosis.holders[0].relation,
        Some(RelationName::SameOption)
    );
}

#[test]
fn what_a_supervisor_runs_is_stopped_through_it() {
    let caller = stranger();
    for (supervisor, text) in [
        (Supervisor::Gunicorn, "kill 20; look first"),
        (Supervisor::Uvicorn, "kill 20; look first"),
        (Supervisor::Nodemon, "kill 20; look first"),
        (Supervisor::Flask, "kill 20 22; look first"),
        (Supervisor::Pm2, "pm2 stop ID"),
        (Supervisor::Supervisord, "supervisorctl stop NAME"),
        (Supervisor::Runit, "sv down SERVICE"),
        (Supervisor::S6, "s6-svc -d SERVICE"),
    ] {
        let above = [(21, "sh", None), (20, "x$(y)", Some(supervisor))];
        let worker = below(running(22, 21, &["web"]), &above);

        let diagnosis = asked_by(caller.clone(), vec![worker]).diagnose();

        let fix = &diagnosis.fixes[0];
        assert_eq!(&*fix.id, "stop_parent");
        assert!(fix.text.contains(text), "{}", fix.text);
        // Nothing that a process chose.
        assert_eq!(
            fix.command.as_deref(),
            Some("ps -o pid,ppid,stat,lstart,args -p 20,22")
        );
    }
}

#[test]
fn whoever_is_not_below_the_supervisor_is_not_stopped_through_it() {
    let worker = below(
        running(22, 20, &["web"]),
        &[(20, "gunicorn", Some(Supervisor::Gunicorn))],
    );
    let fixture = asked_by(stranger(), vec![worker, running(40, 1, &["other"])]);

    assert_eq!(first(&fixture), "stop_holder");
}

#[test]
fn what_the_parent_starts_again_is_stopped_there() {
    let mut fixture = asked_by(running(50, 5, &["x"]), vec![running(22, 20, &["web"])]);
    fixture.known[0].predecessor = Some(running(21, 20, &["web"]).into());

    let diagnosis = fixture.diagnose();

    assert_eq!(&*diagnosis.fixes[0].id, "stop_parent");
    assert!(
        diagnosis.summary.contains("started it again"),
        "{}",
        diagnosis.summary
    );
}

#[test]
fn a_stopped_holder_is_continued_or_killed() {
    let mut holder = running(22, 20, &["web"]);
    holder.halted = Some(Halted::Stopped);
    let fixture = asked_by(running(50, 5, &["x"]), vec![holder]);

    let diagnosis = fixture.diagnose();

    assert_eq!(&*diagnosis.fixes[0].id, "continue_holder");
    assert_eq!(
        diagnosis.fixes[0].command.as_deref(),
        Some("ps -o pid,ppid,stat,lstart,args -p 22")
    );
    assert!(
        diagnosis.summary.contains("which is stopped"),
        "{}",
        diagnosis.summary
    );
}
