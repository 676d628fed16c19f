//! Who is advised to be stopped, and how.

mod before;

use crate::diagnosis::Origin;
use crate::diagnosis::test_support::{Fixture, PLAIN, holder, in_unit, owned, process};
use crate::event::{Ancestor, Effect, Identity, KnownBy, Process, State, Supervisor};

fn stopped(fixture: &Fixture) -> Vec<(String, Option<String>)> {
    let fixes = fixture.diagnose().fixes;
    fixes
        .into_iter()
        .filter(|fix| matches!(&*fix.id, "look_at_holder" | "stop_holder"))
        .map(|fix| (fix.id.to_string(), fix.command))
        .collect()
}

fn fixture_of(held_by: Vec<Process>) -> Fixture {
    let mut listener = holder(State::Listen, "0.0.0.0", 8080, PLAIN);
    listener.processes = Some(held_by.into_iter().map(std::sync::Arc::new).collect());
    Fixture::bind("0.0.0.0", 8080).with(listener, owned(10, "web", Origin::Listener))
}

fn first(fixture: &Fixture) -> String {
    fixture.diagnose().fixes[0].id.to_string()
}

fn running(pid: u32, ppid: u32, argv: &[&str]) -> Process {
    Process {
        ppid: Some(ppid),
        exe: Some("/usr/sbin/web".into()),
        argv: Some(argv.iter().map(|&word| word.to_owned()).collect()),
        ..process(pid, "web")
    }
}

fn asked_by(caller: Process, held_by: Vec<Process>) -> Fixture {
    let mut fixture = fixture_of(held_by);
    fixture.call.process = caller.into();
    fixture
}

fn stranger() -> Process {
    Process {
        exe: Some("/usr/bin/other".into()),
        ..running(50, 5, &["x"])
    }
}

fn below(process: Process, above: &[(u32, &str, Option<Supervisor>)]) -> Process {
    let ancestors = above.iter().map(|&(pid, comm, supervisor)| Ancestor {
        pid,
        comm: comm.into(),
        supervisor,
    });
    let identity = Identity {
        ancestors: ancestors.collect(),
        ..Identity::default()
    };
    Process {
        identity: Some(identity.into()),
        ..process
    }
}

#[test]
fn a_service_is_looked_at_before_it_is_stopped() {
    let mut fixture = fixture_of(vec![in_unit(process(10, "web"), "web.service", &[])]);

    let stop = stopped(&fixture);
    let mut same = in_unit(process(11, "web"), "web.service", &[]);
    same.via = KnownBy::Syscall;
    fixture.call.process = same.into();
    let restart = stopped(&fixture);

    let check = (
        "look_at_holder".to_owned(),
        Some("systemctl status 10".to_owned()),
    );
    let command = |verb: &str| {
        let line = format!("systemctl {verb} web.service");
        ("stop_holder".to_owned(), Some(line))
    };
    assert_eq!(stop, [check.clone(), command("stop")]);
    assert_eq!(restart, [check, command("restart")]);
}

#[test]
fn a_service_that_runs_more_is_left_alone() {
    let fixture = fixture_of(vec![in_unit(process(10, "job"), "cron.service", &[9])]);

    let diagnosis = fixture.diagnose();

    assert_eq!(
        stopped(&fixture),
        [(
            "stop_holder".to_owned(),
            Some("ps -o pid,ppid,stat,lstart,args -p 10".to_owned())
        )]
    );
    assert_eq!(
        diagnosis.fixes[0].why.as_deref(),
        Some(
            "not the service that it is in: cron.service also runs other[9], which a stop of the service would end too"
        )
    );
}

#[test]
fn a_name_in_a_control_group_is_no_service() {
    let mut forged = process(10, "x");
    forged.cgroup = Some("/user.slice/user-1000.slice/user@1000.service/sshd.service".into());

    assert_eq!(
        stopped(&fixture_of(vec![forged])),
        [(
            "stop_holder".to_owned(),
            Some("ps -o pid,ppid,stat,lstart,args -p 10".to_owned())
        )]
    );
}

#[test]
fn who_was_not_seen_to_have_it_open_is_not_named_to_be_stopped() {
    let mut fixture = fixture_of(Vec::new());
    fixture.known[0].owner = None;
    let fixes = fixture.diagnose().fixes;

    assert_eq!(
        fixes[0].text,
        "Find out which process holds port 8080 and stop it"
    );
    assert_eq!(fixes[0].command.as_deref(), Some("ss -Htanp sport = :8080"));
    assert_eq!(fixes[0].effect, Some(Effect::Reads));
}

#[test]
fn all_that_hold_it_are_in_the_kill_beside_the_look_and_never_the_first_process() {
    let text = |held_by: Vec<Process>| {
        let fixes = asked_by(stranger(), held_by).diagnose().fixes;
        fixes[0].text.clone()
    };

    let both = text(vec![running(22, 1, &["a"]), running(23, 1, &["a"])]);
    assert!(both.ends_with("look first, then kill 22 23"), "{both}");
    let init = text(vec![running(1, 0, &["a"])]);
    assert!(init.ends_with("look first"), "{init}");
    let many = text((100..120).map(|pid| running(pid, 1, &["a"])).collect());
    assert!(many.ends_with("look first"), "{many}");
}

#[test]
fn a_caller_that_was_handed_the_listener_is_not_stopped() {
    let caller = running(21, 20, &["web"]);
    let fixture = asked_by(
        caller.clone(),
        vec![running(20, 1, &["web"]), caller.clone()],
    );
    let own = {
        let mut fixture = asked_by(running(10, 9, &["web"]), vec![running(10, 9, &["web"])]);
        fixture.known[0].owner = Some(running(10, 9, &["web"]).into());
        fixture
    };

    let diagnosis = fixture.diagnose();

    assert_eq!(&*diagnosis.fixes[0].id, "use_own_socket");
    assert!(diagnosis.fixes.iter().all(|fix| &*fix.id != "stop_holder"));
    assert_eq!(first(&own), "stop_holder");
}

#[test]
fn nobody_is_to_be_stopped_where_no_process_has_the_listener() {
    let mut fixture = asked_by(running(50, 5, &["x"]), vec![]);
    let alive = fixture.diagnose();
    fixture.seen().holders[0].is_opener_gone = true;

    let diagnosis = fixture.diagnose();

    // It may have been closed since, or be in a thread of its opener.
    assert_eq!(alive.certainty, crate::event::Certainty::Proven);
    assert_eq!(diagnosis.certainty, crate::event::Certainty::Likely);
    assert!(
        diagnosis
            .missing
            .iter()
            .any(|missing| missing.contains("SCM_RIGHTS"))
    );
    assert!(
        diagnosis
            .fixes
            .iter()
            .all(|fix| fix.command.as_deref().is_none_or(|c| !c.contains("-p 10")))
    );
}
