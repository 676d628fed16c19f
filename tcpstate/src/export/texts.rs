//! What people read about each cause, as text files.
//!
//! `TCPSTATE_BLESS=1 cargo test -p tcpstate --lib texts` writes them anew; read
//! each changed one as somebody who was woken by it.

mod scenes;

use std::fs;
use std::path::PathBuf;

use super::text;
use crate::diagnosis::CallKind;
use crate::diagnosis::test_support::Scene;
use crate::event::{Body, Cause, ClockAnchor, Event};
use scenes::scenes;

#[test]
fn causes_read_as_they_did() {
    let mut wrong = Vec::new();
    let mut told: Vec<Cause> = Vec::new();
    for (name, scene) in scenes() {
        let cause = scene.diagnose().cause;
        assert!(
            name.starts_with(cause.name()),
            "{name} is {}: {}",
            cause.name(),
            read(&scene)
        );
        told.push(cause);
        let text = read(&scene);
        let path = file(name);
        if std::env::var_os("TCPSTATE_BLESS").is_some() {
            fs::write(&path, &text).expect("tests/texts is writable");
        } else if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            wrong.push(format!("{}\n{text}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for cause in Cause::ALL {
        assert!(told.contains(&cause), "{} is not told", cause.name());
    }
}

#[test]
fn every_tcpstate_command_is_one() {
    use clap::Parser as _;
    let mut count = 0;
    for (name, scene) in scenes() {
        for fix in scene.diagnose().fixes {
            let Some(command) = fix.command.filter(|command| command.contains("tcpstate ")) else {
                continue;
            };
            let parsed = crate::cli::Cli::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{name}: {command}");
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn no_text_is_left_over() {
    let names: Vec<&str> = scenes().into_iter().map(|(name, _)| name).collect();
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

/// The failed call and its diagnosis, as `watch --format text` shows them.
fn read(scene: &Scene) -> String {
    let clock = ClockAnchor {
        mono_ns: 0,
        realtime: 1_763_464_000_000_000_000,
    };
    let call = Box::new(scene.call.clone());
    let call = match scene.kind {
        CallKind::Bind => Body::Bind(call),
        CallKind::Listen => Body::Listen(call),
        CallKind::Connect => Body::Connect(call),
    };
    let diagnosis = Body::Diagnosis(Box::new(scene.diagnose()));
    let mut out = String::new();
    for (seq, body) in [(7, call), (8, diagnosis)] {
        let event = Event {
            seq,
            mono_ns: 1_000_000,
            body,
        };
        text::write_event(&event, clock, None, &mut out);
    }
    out
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/texts")
        .join(format!("{name}.txt"))
}
