//! Recordings that somebody made up, or that went bad: a sentence that names
//! the line, a way to go on, bounded memory, no panic. On the real program.

#[path = "hostile/compressed.rs"]
mod compressed;
#[path = "hostile/parts.rs"]
mod parts;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use tcpstate::export::json;
use tcpstate::recording::index::Index;
use tcpstate::recording::input;
use tcpstate::recording::reader::Reader;

/// A recording that is kept, as it replays.
static KEPT: LazyLock<String> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report/restart.jsonl");
    let output = limited("replay --format json", &[&file]);
    String::from_utf8(output.stdout).expect("it is text")
});

/// All memory that the program may ask for, in kilobytes, whatever it reads.
const MEMORY_KB: u64 = 600 << 10;

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("there is room");
        path
    }
}

/// The program with so much memory and no more.
fn limited(command: &str, files: &[&Path]) -> Output {
    let script = format!("ulimit -v {MEMORY_KB}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_tcpstate")])
        .args(command.split(' '))
        .args(files)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("sh is there");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{command}: {stderr}");
    assert!(
        matches!(output.status.code(), Some(0 | 2)),
        "{command}: {}: {stderr}",
        output.status
    );
    assert!(
        stderr.chars().all(|c| !c.is_control() || c == '\n'),
        "{stderr:?}"
    );
    output
}

const EVERY_WAY: [&str; 5] = [
    "replay --format json",
    "replay --format text",
    "report --format html",
    "report --format md",
    "report --format json",
];

/// Every command says this and ends with this code; what it printed each time.
#[track_caller]
fn every_way(files: &[&Path], code: i32, sentence: &str) -> Vec<String> {
    EVERY_WAY
        .iter()
        .map(|command| {
            let output = limited(command, files);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{command}: {stderr}");
            assert!(stderr.contains(sentence), "{command}: {stderr}");
            String::from_utf8(output.stdout).expect("it prints text")
        })
        .collect()
}

/// The kept recording with one more line after its third.
fn with_line(line: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, kept) in KEPT.lines().enumerate() {
        bytes.extend(kept.as_bytes());
        bytes.push(b'\n');
        if at == 2 {
            bytes.extend(line);
            bytes.push(b'\n');
        }
    }
    bytes
}

/// All of the kept recording was read but the line.
#[track_caller]
fn the_rest_is_there(printed: &[String]) {
    assert!(printed[0] == *KEPT, "{}", printed[0]);
    for text in &printed[1..] {
        assert!(text.contains("EADDRINUSE"), "{text}");
    }
}

#[test]
fn a_line_that_is_no_event_is_named_and_all_others_are_read() {
    let stage = Stage::new();
    let deep = format!(
        "{{\"event\":\"tick\",\"seq\":3,\"mono_ns\":1,\"deep\":{}",
        "[".repeat(500_000)
    );
    let cases: [(&str, &[u8]); 12] = [
        ("cut", b"{\"event\":\"tick\",\"seq\":3,\"mo"),
        ("prose", b"nothing of ours"),
        ("an array", b"[1,2,3]"),
        ("null", b"null"),
        ("zeros", &[0; 100]),
        ("control", b"\x1b]0;gotcha\x07\x1b[2J"),
        (
            "not UTF-8",
            b"{\"event\":\"\xff\xfe\",\"seq\":3,\"mono_ns\":1}",
        ),
        (
            "half a pair",
            br#"{"event":"loss\ud800","seq":3,"mono_ns":1}"#,
        ),
        ("1e400", br#"{"event":"tick","seq":3,"mono_ns":1e400}"#),
        (
            "2^64",
            br#"{"event":"tick","seq":18446744073709551616,"mono_ns":1}"#,
        ),
        ("negative", br#"{"event":"tick","seq":3,"mono_ns":-1}"#),
        ("deep", deep.as_bytes()),
    ];
    for (name, line) in cases {
        let file = stage.file(name, with_line(line));
        let printed = every_way(&[&file], 2, "line 4 is not an event");
        the_rest_is_there(&printed);
        assert!(printed[3].contains("1 line"), "{name}: {}", printed[3]);
        let mut index = Index::default();
        index.add(&file).expect("it can be gone about in");
        // It looks at the beginning of a line only, and may take it for an event.
        assert!(index.bad_lines() <= 1, "{name}");
        let events = (0..index.len()).filter_map(|at| index.read(at).expect("it is there"));
        assert_eq!(events.count(), KEPT.lines().count(), "{name}");
    }
}

#[test]
fn numbers_as_large_as_they_get_are_read() {
    let stage = Stage::new();
    let most = u64::MAX;
    let lines = [
        format!("{{\"event\":\"tick\",\"seq\":{most},\"mono_ns\":{most}}}"),
        format!("{{\"event\":\"tick\",\"seq\":3,\"mono_ns\":{most}}}"),
        "{\"event\":\"loss\",\"seq\":3,\"mono_ns\":0,\"stage\":\"kernel\",\"count\":18446744073709551615,\"resynced\":false}".to_owned(),
        KEPT.lines().nth(4).expect("it is long").replace("8080", "65535"),
    ];
    for line in &lines {
        let file = stage.file("r", with_line(line.as_bytes()));
        every_way(&[&file], 2, "the lines before line");
    }
    // The anchor of the clock is the recording's, too.
    for anchor in [
        "0001-01-01T00:00:00.000000000Z",
        "9999-12-31T23:59:59.999999999Z",
    ] {
        let at = KEPT.find("\"realtime\":\"").expect("an anchor") + "\"realtime\":\"".len();
        let text = format!("{}{anchor}{}", &KEPT[..at], &KEPT[at + anchor.len()..]);
        let file = stage.file("r", text);
        for command in EVERY_WAY {
            limited(command, &[&file]);
        }
    }
}

#[test]
fn an_event_of_a_later_version_is_passed_over() {
    let stage = Stage::new();
    // Its position is one that no event of ours has.
    let mut lines: Vec<String> = KEPT.lines().map(str::to_owned).collect();
    let footer = lines.pop().expect("a footer");
    let seq = lines.len();
    lines.push(format!(
        "{{\"event\":\"tcp.retransmit\",\"seq\":{seq},\"ts\":\"x\",\"mono_ns\":2,\"what\":[{{}}]}}"
    ));
    lines.push(footer.replace(&format!("\"seq\":{seq},"), &format!("\"seq\":{},", seq + 1)));
    let file = stage.file("r", lines.join("\n") + "\n");

    let printed = every_way(&[&file], 0, "");

    the_rest_is_there(&printed);
}

#[test]
fn names_with_escapes_stay_names() {
    let stage = Stage::new();
    let named = KEPT
        .replace("\"comm\":\"", "\"comm\":\"\\u001b[2J\\u202e<b>|`")
        .replace(
            "\"host\":\"",
            "\"host\":\"\\u001b]0;x\\u0007\\r\\n# <script>",
        );
    assert_ne!(named, *KEPT);
    let file = stage.file("r", named);

    let printed = every_way(&[&file], 0, "");

    assert!(!printed[2].contains("<script"), "{}", printed[2]);
    for text in &printed[1..4] {
        assert!(
            text.chars()
                .all(|c| (!c.is_control() || c == '\n') && c != '\u{202e}'),
            "{text:?}"
        );
        assert!(!text.contains("\n# <"), "{text}");
    }
}

#[test]
fn a_line_of_a_gigabyte_and_a_file_of_ten_are_read_in_bounded_memory() {
    // Holes in memory need no pages, so that ten gigabytes take seconds.
    let stage = Stage(
        tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .expect("a directory"),
    );
    for (name, hole) in [("line", 1_u64 << 30), ("file", 10 << 30)] {
        let path = stage.path(name);
        let mut file = File::create(&path).expect("there is room");
        let (first, rest) = KEPT.split_at(KEPT.find('\n').expect("lines") + 1);
        file.write_all(first.as_bytes()).expect("there is room");
        file.seek(SeekFrom::Current(i64::try_from(hole).expect("small")))
            .expect("files can have holes");
        file.write_all(b"\n").expect("there is room");
        file.write_all(rest.as_bytes()).expect("there is room");
        drop(file);

        let commands = if hole > 1 << 32 {
            &EVERY_WAY[..1]
        } else {
            &EVERY_WAY[1..3]
        };
        for command in commands {
            let output = limited(command, &[&path]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                stderr.contains("line 2 is longer than 1048576 bytes"),
                "{stderr}"
            );
            assert_eq!(output.status.code(), Some(2));
            if hole > 1 << 32 {
                assert!(String::from_utf8_lossy(&output.stdout) == *KEPT);
            }
        }
    }
}

/// Bad lines by the thousand are counted, not told one by one.
#[test]
fn a_flood_of_bad_lines_does_not_become_a_flood_of_words() {
    let stage = Stage::new();
    let file = stage.file("r", format!("{}{}", *KEPT, "bad\n".repeat(50_000)));
    for command in EVERY_WAY {
        let output = limited(command, &[&file]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("50000 of the lines"), "{stderr}");
        assert!(stderr.lines().count() < 20, "{stderr}");
        assert!(output.stdout.len() < 1 << 20);
    }
}
