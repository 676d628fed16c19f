//! What people read about each cause, as text files.
//!
//! `UPDATE_EXPECT=1 cargo test -p tcpstate-core texts` writes them anew; read
//! each changed one as somebody who was woken by it.

mod fixtures;
mod pasted;

use std::fs;
use std::path::PathBuf;

use expect_test::expect_file;

use super::{describe, text};
use crate::diagnosis::CallKind;
use crate::diagnosis::test_support::Fixture;
use crate::event::{Applies, Body, Cause, ClockAnchor, Effect, Event, Fix, Process};
use fixtures::fixtures;

#[test]
fn causes_read_as_they_did() {
    let mut covered: Vec<Cause> = Vec::new();
    for (name, fixture) in fixtures() {
        let cause = fixture.diagnose().cause;
        assert!(
            name.starts_with(cause.name()),
            "{name} is {}: {}",
            cause.name(),
            read(&fixture)
        );
        covered.push(cause);
        expect_file![file(name)].assert_eq(&read(&fixture));
    }
    for cause in Cause::ALL {
        assert!(covered.contains(&cause), "{} is not told", cause.name());
    }
}

#[test]
fn no_text_is_left_over() {
    let names: Vec<&str> = fixtures().into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(file("x").parent().expect("a folder")).expect("tests/texts is there")
    {
        let path = entry.expect("it can be listed").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        assert!(
            stem.is_some_and(|stem| names.contains(&stem)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn another_namespace_is_named_where_its_commands_are() {
    let mut fixture = Fixture::bind("0.0.0.0", 8080);
    fixture.environment.own_netns = Some(1);
    let netns = fixture.call.sock.expect("a socket").netns;

    let unnamed = read(&fixture);
    fixture.call.netns_name = Some("blue\x1b[2J".into());
    let mut caller = Process::clone(&fixture.call.process);
    caller.container = Some("web".into());
    caller.container_uid = Some(1000);
    fixture.call.process = caller.into();
    let named = read(&fixture);
    fixture.environment.own_netns = Some(netns);
    fixture.call.process = Process::new(1, 0, "x", crate::event::KnownBy::Syscall).into();
    let ours = read(&fixture);

    let covered = |text: &str, what: &str| {
        let (call, why) = text.split_once("WHY").expect("both are told");
        (call.contains(what), why.contains(what))
    };
    let number = format!("netns {netns}\n");
    assert_eq!(covered(&unnamed, &number), (true, true), "{unnamed}");
    assert_eq!(covered(&unnamed, "where      in netns "), (false, true));
    let name = "netns blue\\u{1b}[2J";
    assert_eq!(covered(&named, name), (true, true), "{named}");
    assert_eq!(
        covered(&named, ", calls itself container web\n"),
        (false, true)
    );
    assert_eq!(covered(&ours, "netns blue"), (false, false), "{ours}");
    assert_eq!(covered(&ours, "where  "), (false, false), "{ours}");
}

#[test]
fn a_command_that_ends_something_has_its_warning_above_it() {
    let mut fix = Fix {
        id: "x".into(),
        text: "Have the kernel destroy them".to_owned(),
        command: Some("ss -K sport = :8080".to_owned()),
        language: None,
        effect: Some(Effect::Destroys),
        applies: Applies::Now,
        why: None,
    };
    let lines = |fix: &Fix| {
        let lines = describe::fix_lines(fix).into_iter().skip(1);
        lines.map(|(_, line)| line).collect::<Vec<_>>()
    };

    let warned = [
        "(this ends connections or processes)",
        "$ ss -K sport = :8080",
    ];
    assert_eq!(lines(&fix), warned);
    for effect in [None, Some(Effect::Reads), Some(Effect::Changes)] {
        fix.effect = effect;
        assert_eq!(lines(&fix), [warned[1]]);
    }
}

/// The failed call and its diagnosis, as `watch --format text` shows them.
fn read(fixture: &Fixture) -> String {
    let context = describe::Context {
        clock: ClockAnchor {
            mono_ns: 0,
            realtime: 1_763_464_000_000_000_000,
        },
        own_netns: fixture.environment.own_netns,
        is_one_netns: false,
        failed: Some(&fixture.call),
    };
    let call = Box::new(fixture.call.clone());
    let call = match fixture.kind {
        CallKind::Bind => Body::Bind(call),
        CallKind::Listen => Body::Listen(call),
        CallKind::Connect => Body::Connect(call),
    };
    let diagnosis = Body::Diagnosis(Box::new(fixture.diagnose()));
    let mut out = String::new();
    for (seq, body) in [(7, call), (8, diagnosis)] {
        let event = Event {
            seq,
            mono_ns: 1_000_000,
            body,
        };
        text::write_event(&event, &context, &mut out);
    }
    out
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/texts")
        .join(format!("{name}.txt"))
}
