//! Who is what to whom.

use std::sync::Arc;

use super::*;
use crate::diagnosis::test_support::process;
use crate::event::Identity;

fn running(pid: u32, ppid: u32, words: &str) -> Process {
    let argv: Vec<String> = words.split(' ').map(str::to_owned).collect();
    Process {
        ppid: Some(ppid),
        parent: Some("sh".into()),
        exe: Some(format!("/usr/bin/{}", argv[0]).into()),
        argv: Some(argv.into()),
        ..process(pid, "web")
    }
}

fn below(process: Process, above: &[u32], cwd: &str) -> Process {
    let ancestors = above.iter().map(|&pid| Ancestor {
        pid,
        comm: "sh".into(),
        supervisor: None,
    });
    Process {
        identity: Some(Arc::new(Identity {
            cwd: Some(cwd.into()),
            ancestors: ancestors.collect(),
            ..Identity::default()
        })),
        ..process
    }
}

fn name(holder: &Process, caller: &Process) -> Option<RelationName> {
    Relation::of(holder, caller).name
}

#[test]
fn descent_comes_before_likeness() {
    let top = running(10, 1, "web");
    let middle = running(11, 10, "web");
    let caller = below(running(12, 11, "web"), &[11, 10], "/");
    let grandchild = below(running(14, 13, "web"), &[13, 12, 11], "/");

    for (holder, expected) in [
        (&caller, RelationName::Itself),
        (&middle, RelationName::Parent),
        (&top, RelationName::Ancestor),
        (&running(13, 12, "web"), RelationName::Child),
        (&grandchild, RelationName::Descendant),
        (&running(15, 11, "web"), RelationName::SameCommand),
        (&running(15, 11, "other"), RelationName::Sibling),
    ] {
        assert_eq!(name(holder, &caller), Some(expected));
    }
    assert_eq!(name(&running(15, 7, "other"), &caller), None);
    // Whoever lost its parent has process 1.
    assert_eq!(name(&process(1, "init"), &running(12, 1, "web")), None);
    assert_eq!(name(&running(15, 1, "x"), &running(12, 1, "web")), None);
    assert_eq!(
        nearest([&running(15, 7, "other"), &top], &caller),
        Some(RelationName::Ancestor)
    );
}

#[test]
fn what_an_interpreter_runs_is_in_its_arguments() {
    for (holder, caller, expected) in [
        ("nginx -g x", "nginx -t", Some(RelationName::ConfigTested)),
        ("nginx", "nginx -c x", Some(RelationName::SameProgram)),
        ("python3 a.py", "python3 b.py", None),
        (
            "python3 a.py",
            "python3 a.py -v",
            Some(RelationName::SameProgram),
        ),
        (
            "python3 -m http.server 1",
            "python3 -m http.server 1",
            Some(RelationName::SameCommand),
        ),
        (
            "java -Dcom.sun.management.jmxremote.port=9010 Main start",
            "java -Dcom.sun.management.jmxremote.port=9010 Main stop",
            Some(RelationName::SameOption),
        ),
        (
            "node --inspect=9229 server.js",
            "node --inspect=9229 /usr/bin/npm",
            Some(RelationName::SameOption),
        ),
        ("java -Xmx1g Main", "java -Xmx1g Other", None),
    ] {
        let relation = name(&running(10, 1, holder), &running(20, 1, caller));
        assert_eq!(relation, expected, "{holder} / {caller}");
    }
}

#[test]
fn one_name_in_two_folders_is_two_programs() {
    let in_folder = |pid, words: &str, cwd: &str| below(running(pid, 1, words), &[], cwd);
    let relation =
        |words: &str, cwd: &str| name(&in_folder(10, words, "/a"), &in_folder(20, words, cwd));

    assert_eq!(
        relation("node server.js", "/a"),
        Some(RelationName::SameCommand)
    );
    assert_eq!(relation("node server.js", "/b"), None);
    assert_eq!(
        relation("node /a/server.js", "/b"),
        Some(RelationName::SameCommand)
    );
    assert_eq!(relation("nginx", "/b"), Some(RelationName::SameCommand));
}

#[test]
fn a_caller_that_has_ended_is_known_by_its_name() {
    let mut gone = running(20, 1, "nginx -t");
    (gone.exe, gone.comm) = (None, "nginx".into());
    let mut master = running(10, 1, "nginx");
    master.comm = "nginx".into();

    assert_eq!(name(&master, &gone), Some(RelationName::ConfigTested));
    assert_eq!(name(&running(10, 1, "nginx"), &gone), None);
    assert_eq!(name(&Process::kernel(), &Process { pid: 0, ..gone }), None);
}

#[test]
fn a_worker_without_its_master_is_what_that_one_left() {
    let worker = |ppid| Process {
        argv: Some(vec!["nginx: worker process".to_owned()].into()),
        ..running(21, ppid, "nginx")
    };

    assert!(is_orphan(&worker(1)));
    assert!(!is_orphan(&worker(20)));
    assert!(!is_orphan(&running(20, 1, "nginx")));
}

#[test]
fn of_several_the_one_that_matters_is_told() {
    let caller = below(running(12, 11, "web"), &[11, 10], "/");
    let worker = running(30, 10, "worker");
    let top = running(10, 1, "master");

    assert_eq!(
        apposition(&[&worker, &top], &caller),
        ", of which web[10] is an ancestor of web[12],"
    );
    assert_eq!(
        apposition(&[&worker, &running(31, 10, "worker")], &caller),
        ""
    );
    let mut orphan = below(running(40, 1, "x"), &[], "/");
    Arc::make_mut(orphan.identity.as_mut().unwrap()).is_orphan = true;
    assert_eq!(
        apposition(&[&orphan], &caller),
        ", which outlived what started it,"
    );
}

#[test]
fn arguments_that_were_cut_are_the_same_as_far_as_they_are_known() {
    let source = "x".repeat(600);
    let opener = running(1, 9, &format!("python3 -c {source} more"));
    let child = running(2, 9, &format!("python3 -c {source} more")).with_short_argv(512);
    let other = running(3, 9, &format!("python3 -c {}", source.replace('x', "y")));
    let other = other.with_short_argv(512);

    assert!(is_fork_of(&child, &opener));
    assert!(is_fork_of(&opener, &child));
    assert!(!is_fork_of(&other, &opener));
}
