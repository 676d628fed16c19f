//! The documents say what the program does.

use std::fs;
use std::path::PathBuf;

use clap::Parser as _;
use tcpstate::cli::Cli;
use tcpstate::event::Cause;
use tcpstate::export::schema;
use tcpstate::report;

fn document(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name);
    let text = fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

#[test]
fn the_schemas_in_docs_are_the_ones_that_the_types_give() {
    for (name, schema) in [
        ("docs/schema.json", schema::schema()),
        ("docs/report.schema.json", report::schema()),
    ] {
        let (path, kept) = document(name);
        let made = serde_json::to_string_pretty(&schema).expect("the schema is JSON") + "\n";

        if std::env::var_os("TCPSTATE_BLESS").is_some() {
            fs::write(&path, &made).expect("docs can be written");
            continue;
        }
        assert!(
            kept == made,
            "{name} is out of date: TCPSTATE_BLESS=1 cargo test -p tcpstate --test docs"
        );
    }
}

#[test]
fn every_command_of_the_readme_is_one() {
    let (_, readme) = document("README.md");
    let mut checked = 0;
    for line in readme
        .split("```sh")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .flat_map(str::lines)
    {
        let line = line.trim().trim_start_matches("sudo ");
        let arguments = match line.split_once(' ') {
            Some(("tcpstate", rest)) => rest,
            Some(("cargo", rest)) if rest.starts_with("run --release -- ") => {
                &rest["run --release -- ".len()..]
            }
            _ => continue,
        };
        let parsed =
            Cli::try_parse_from(std::iter::once("tcpstate").chain(arguments.split_whitespace()));
        assert!(
            parsed.is_ok(),
            "{line}: {}",
            parsed
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        );
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} commands found");
}

#[test]
fn every_cause_is_described() {
    let (_, causes) = document("docs/causes.md");

    for cause in Cause::ALL {
        assert!(
            causes.contains(cause.name()),
            "{} is missing in docs/causes.md",
            cause.name()
        );
    }
}

#[test]
fn every_event_is_described() {
    let (_, events) = document("docs/events.md");
    let names = [
        "header",
        "socket",
        "tcp.state",
        "tcp.time_wait.enter",
        "tcp.time_wait.exit",
        "tcp.reset",
        "bind",
        "listen",
        "connect",
        "accept",
        "diagnosis",
        "restart",
        "fallback",
        "loss",
        "tick",
        "footer",
    ];

    for name in names {
        assert!(
            events.contains(&format!("`{name}`")),
            "{name} is missing in docs/events.md"
        );
    }
}
