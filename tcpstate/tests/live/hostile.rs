//! Recordings that the fuzzers made, on the dashboard, in a real terminal: no
//! byte of theirs reaches it but as text, and it is given back as it was.

use std::fs;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use tcpstate::event::Body;
use tcpstate::export::json;
use tcpstate::recording::index::Index;
use tcpstate::recording::input;

use crate::terminal::Terminal;
use support::{Program, TCPSTATE, require};

/// Of so many files of the corpus one is opened by itself.
const BY_ITSELF: usize = 60;
/// Bytes that are taken of one file, unpacked.
const MAX_UNPACKED: u64 = 1 << 20;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn corpus() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["recording", "report"]
        .iter()
        .flat_map(|name| fs::read_dir(top().join("fuzz/corpus").join(name)).expect("a corpus"))
        .map(|entry| entry.expect("it is there").path())
        .collect();
    files.sort();
    files
}

/// The lines of all of them behind the header of a real one. Headers of their
/// own would be other recordings.
fn all_in_one() -> Vec<u8> {
    let real = fs::read(top().join("tcpstate/tests/data/report/restart.jsonl")).expect("kept");
    let mut text = real;
    for file in corpus() {
        let Ok(input) = input::open(&file) else {
            continue;
        };
        for line in input.take(MAX_UNPACKED).split(b'\n') {
            let Ok(line) = line else {
                break;
            };
            let event = json::read_line(&line).ok().and_then(|(_, event)| event);
            if !event.is_some_and(|event| matches!(event.body, Body::Header(_))) {
                text.extend(line);
                text.push(b'\n');
            }
        }
    }
    text
}

/// What a terminal may be told besides text: to move, to colour, to erase, to
/// switch modes.
fn assert_harmless(bytes: &[u8], what: &str) {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let kind = rest.next();
                assert!(
                    matches!(kind, Some('[' | '(' | '7' | '8' | '=' | '>')),
                    "{what}: escape {kind:?}"
                );
                if kind == Some('[') {
                    let end = rest.find(|c| !matches!(c, '0'..='9' | ';' | ':' | '?' | ' '));
                    assert!(
                        end.is_some_and(|end| end.is_ascii_alphabetic()),
                        "{what}: sequence with {end:?}"
                    );
                }
            }
            '\r' | '\n' => {}
            c => assert!(
                !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'),
                "{what}: {c:?}"
            ),
        }
    }
}

/// Opens it, looks around, goes.
fn look_around(file: &Path, bytes: &Path) {
    let name = file.display();
    let ran = format!("{TCPSTATE} replay '{name}' --format tui; echo \"ended $?\"");
    // The panes look as they did before when it has gone.
    let terminal = Terminal::start(80, 24, "echo before");
    terminal.wait_for("before");
    terminal.keep_bytes(bytes);
    terminal.keys(&[&ran, "Enter"]);
    let bar = |screen: &str| {
        let lines = screen.trim_end().lines().rev();
        lines
            .skip(1)
            .find(|line| line.contains(" of "))
            .map(str::to_owned)
    };
    let is_there = |screen: &str| {
        bar(screen).is_some_and(|bar| !bar.contains("reading") && !bar.contains('…'))
    };
    terminal.until(&format!("{name} is shown"), is_there);
    let ways: [&[&str]; 4] = [
        &["]", "d"],
        &[">", "Tab", "Enter"],
        &["Tab", "Enter"],
        &["n", "[", ","],
    ];
    for way in ways {
        terminal.keys(way);
        // Once the help is there, all keys before it have been taken; nothing
        // follows on the Escape until it was, or both would be one key.
        terminal.keys(&["?"]);
        terminal.wait_for("this help");
        terminal.keys(&["Escape"]);
        terminal.wait_until("this help", false);
        terminal.until(&format!("{name}: the screen behind it"), |screen| {
            let is_open = screen.contains("Esc close");
            if is_open {
                terminal.keys(&["Escape"]);
            }
            !is_open
        });
    }
    terminal.keys(&["<", ".", "+"]);
    terminal.until(&format!("{name} has done all that"), |screen| {
        is_there(screen) && bar(screen).is_some_and(|bar| bar.contains(" 2× "))
    });
    terminal.keys(&["q"]);
    let screen = terminal.wait_for("ended 0");
    assert!(screen.contains("before"), "{name}: {screen}");
    let bytes = fs::read(bytes).expect("it was written");
    assert!(bytes.len() > 10_000, "{name}: {} bytes", bytes.len());
    assert_harmless(&bytes, &name.to_string());
}

#[test]
fn what_fuzzers_made_is_shown_as_text_and_the_terminal_is_given_back() {
    if !require(&[Program("tmux", "tmux")]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let joined = dir.path().join("joined.jsonl");
    fs::write(&joined, all_in_one()).expect("there is room");
    let opens = |file: &PathBuf| {
        let mut index = Index::default();
        index.add(file).is_ok() && !index.is_empty()
    };
    assert!(opens(&joined));
    let some = corpus().into_iter().filter(opens).step_by(BY_ITSELF);

    let mut shown = 0;
    for file in some.chain([joined]) {
        look_around(&file, &dir.path().join("bytes"));
        shown += 1;
    }
    assert!(shown > 3, "{shown} files");
}

#[test]
fn what_would_reach_a_terminal_is_noticed() {
    let harmful = [
        "\u{1b}]0;title\u{7}",
        "\u{1b}Pq",
        "\u{9b}31m",
        "\u{7}",
        "\u{202e}x",
        "\u{1b}[\u{1b}",
    ];
    for text in harmful {
        let noticed = std::panic::catch_unwind(|| assert_harmless(text.as_bytes(), "it"));
        assert!(noticed.is_err(), "{text:?}");
    }
    assert_harmless("\u{1b}[?25l\u{1b}[1;31mred\u{1b}(B é\r\n".as_bytes(), "it");
}
