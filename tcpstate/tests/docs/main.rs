//! The documents say what the program does.

mod other_tools;
mod workflows;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use expect_test::expect_file;
use tcpstate::cli::Cli;
use tcpstate::event::{Body, Cause};
use tcpstate::export::schema;
use tcpstate::report;
use tcpstate::tui::columns::Column;
use tcpstate::tui::config::Config;
use tcpstate::tui::keys::{BINDINGS, Mode, label};
use tcpstate::tui::{Theme, filter};

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
        let made = serde_json::to_string_pretty(&schema).expect("the schema is JSON") + "\n";

        expect_file![document(name).0].assert_eq(&made);
    }
}

#[test]
fn every_command_of_the_documents_is_one() {
    let (_, readme) = document("README.md");
    let (_, dashboard) = document("docs/dashboard.md");
    let (_, restart_test) = document("docs/restart-test.md");
    let text = readme + &dashboard + &restart_test;
    let mut checked = 0;
    for line in text
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
fn every_tcpstate_command_that_a_diagnosis_advises_is_one() {
    let texts = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/texts");
    let mut checked = 0;
    for entry in fs::read_dir(texts).expect("the texts of the causes are there") {
        let path = entry.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("text");
        let commands = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("$ "))
            .map(|command| command.trim_start_matches("sudo "))
            .filter(|command| command.starts_with("tcpstate "));
        for command in commands {
            let parsed = Cli::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{}: {command}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} commands found");
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
    for name in Body::NAMES {
        assert!(
            events.contains(&format!("`{name}`")),
            "{name} is missing in docs/events.md"
        );
    }
}

/// `NAME` in `file` of each row is a constant or a field there.
#[test]
fn the_page_about_limits_names_what_there_is() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (_, page) = document("docs/limits.md");
    let mut rows = 0;
    for row in page.lines().filter(|line| line.contains("` in `")) {
        let (before, after) = row.split_once("` in `").unwrap();
        let name = before.rsplit('`').next().unwrap();
        let file = after.split('`').next().unwrap();
        let path = ["..", "src", "core/src"]
            .map(|folder| program.join(folder).join(file))
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("there is no {file}"));
        let code =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = name.rsplit("::").next().unwrap();
        assert!(
            code.contains(&format!("const {name}:"))
                || code.contains(&format!("pub {name}:"))
                || code.contains(&format!("pub struct {name} ")),
            "{} has no {name}",
            path.display()
        );
        rows += 1;
    }
    assert!(rows > 20, "{rows} rows");
}

const KEYS_BEGIN: &str = "<!-- keys: UPDATE_EXPECT=1 cargo test -p tcpstate --test docs -->\n";
const KEYS_END: &str = "<!-- end of keys -->";

#[test]
fn the_keys_in_the_docs_are_those_of_the_table() {
    let (path, kept) = document("docs/dashboard.md");
    let (before, rest) = kept
        .split_once(KEYS_BEGIN)
        .expect("the table has its place");
    let (_, after) = rest.split_once(KEYS_END).expect("the table ends");

    let made = format!("{before}{KEYS_BEGIN}{}{KEYS_END}{after}", key_tables());

    expect_file![path].assert_eq(&made);
}

fn key_tables() -> String {
    let mut text = String::new();
    for mode in Mode::ALL {
        let heading = match mode {
            Mode::Browse => "On the dashboard",
            Mode::Replay => "Over a recording, before the others",
            Mode::Typing => "While a filter or a time is typed",
        };
        let head = "| keys | do | name in the configuration |\n| --- | --- | --- |";
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{heading}:\n\n{head}");
        for binding in BINDINGS.iter().filter(|binding| binding.mode == mode) {
            let keys: Vec<String> = binding.keys.iter().map(|key| label(&[*key])).collect();
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(" ");
            let _ = writeln!(text, "| {keys} | {} | `{}` |", binding.help, binding.name);
        }
    }
    text + "\n"
}

#[test]
fn the_dashboard_s_filter_columns_and_themes_are_described() {
    let (_, text) = document("docs/dashboard.md");

    for (words, _) in filter::LANGUAGE {
        for word in words.split("  ") {
            assert!(text.contains(&format!("`{word}`")), "{word} is missing");
        }
    }
    for column in Column::ALL {
        let is_usual = Column::USUAL.contains(&column);
        assert!(is_usual || text.contains(&format!("`{}`", column.name())));
    }
    for theme in Theme::ALL {
        assert!(text.contains(&format!("`{}`", theme.name())), "{theme:?}");
    }
}

#[test]
fn the_configuration_in_the_docs_is_right() {
    let (_, text) = document("docs/dashboard.md");
    let (_, rest) = text.split_once("```toml\n").expect("there is an example");
    let (example, _) = rest.split_once("```").expect("it ends");

    let config = Config::parse(example).expect("it is right");

    assert_eq!(config.theme, Some(Theme::Light));
}
