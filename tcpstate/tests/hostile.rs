//! Recordings that somebody made up, or that went bad: a sentence that names
//! the line, a way to go on, bounded memory, no panic. On the real program.

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

fn compressed(window_log: Option<u32>, write: impl FnOnce(&mut dyn std::io::Write)) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd is there");
    if let Some(window_log) = window_log {
        encoder.window_log(window_log).expect("it is allowed");
    }
    write(&mut encoder);
    encoder.finish().expect("memory takes it")
}

#[test]
fn compressed_bombs_are_read_in_bounded_memory() {
    let stage = Stage::new();
    let zeros = vec![0; 1 << 20];
    let first = KEPT.find('\n').expect("lines") + 1;
    // Four gigabytes of nothing in half a megabyte.
    let bomb = compressed(None, |out| {
        out.write_all(&KEPT.as_bytes()[..first])
            .expect("memory takes it");
        for _ in 0..4 << 10 {
            out.write_all(&zeros).expect("memory takes it");
        }
    });
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let file = stage.file("zeros.zst", bomb);
    for command in &EVERY_WAY[..3] {
        let output = limited(command, &[&file]);
        // A replay says it beside, a report within.
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("was cut in line 2"), "{said}");
        assert!(output.status.success());
    }

    // The same valid line again and again.
    let ticks = compressed(None, |out| {
        out.write_all(&KEPT.as_bytes()[..first])
            .expect("memory takes it");
        for seq in 0..1_000_000 {
            let line = format!("{{\"event\":\"tick\",\"seq\":{},\"mono_ns\":7}}\n", seq + 1);
            out.write_all(line.as_bytes()).expect("memory takes it");
        }
    });
    let file = stage.file("ticks.zst", ticks);
    for command in &EVERY_WAY[1..3] {
        assert!(limited(command, &[&file]).status.success());
    }

    // One that wants a gigabyte before it has said anything.
    let wide = compressed(Some(30), |out| {
        for _ in 0..20 {
            out.write_all(KEPT.as_bytes()).expect("memory takes it");
            out.write_all(&zeros).expect("memory takes it");
        }
    });
    let file = stage.file("wide.zst", wide);
    every_way(&[&file], 2, "too much memory");
    let mut index = Index::default();
    assert!(index.add(&file).is_err());
}

#[test]
fn a_damaged_or_cut_compressed_recording_is_read_up_to_there() {
    let stage = Stage::new();
    let header = KEPT.lines().next().expect("a header");
    let mut text = format!("{header}\n").into_bytes();
    for seq in 1..200_000 {
        writeln!(
            text,
            "{{\"event\":\"tick\",\"seq\":{seq},\"mono_ns\":{}}}",
            seq * 7919 % 100_003
        )
        .expect("memory takes it");
    }
    let whole = compressed(None, |out| {
        out.write_all(&text).expect("memory takes it");
    });

    let cut = stage.file("cut.zst", &whole[..whole.len() / 2]);
    let said = every_way(&[&cut], 0, "");
    assert!(said[0].lines().count() > 10_000);
    assert!(said[3].contains("cut in line"), "{}", said[3]);

    let mut damaged = whole.clone();
    let half = whole.len() / 2;
    for byte in &mut damaged[half..half + 64] {
        *byte = !*byte;
    }
    let damaged = stage.file("damaged.zst", damaged);
    let said = every_way(&[&damaged], 2, "could not be read");
    assert!(said[0].lines().count() > 10_000);
    for file in [cut, damaged] {
        let mut index = Index::default();
        index
            .add(&file)
            .expect("what is there can be gone about in");
        assert!(index.len() > 10_000 && !index.has_footer());
    }
}

/// At every byte of the frame's header and its end, and at some hundred between.
#[test]
fn a_compressed_recording_cut_anywhere_is_read_to_its_last_whole_line() {
    let stage = Stage::new();
    let packed = compressed(None, |out| {
        // Frames of a few lines each, as a recording that is flushed has them.
        for lines in KEPT.split_inclusive('\n').collect::<Vec<_>>().chunks(3) {
            out.write_all(lines.concat().as_bytes())
                .expect("memory takes it");
            out.flush().expect("memory takes it");
        }
    });
    let end = packed.len() - 1;
    let between = (0..packed.len()).step_by(packed.len() / 300);
    let places: BTreeSet<usize> = (0..32).chain(between).chain(end - 8..=end).collect();
    let mut events_before = 0;
    for at in places {
        let file = stage.file("cut.zst", &packed[..at]);
        let mut said = Vec::new();
        let mut events = Vec::new();
        let input = input::open(&file).expect("it can be opened");
        for event in Reader::new(input) {
            match event {
                Ok(event) => events.push(event),
                Err(error) => said.push(error.to_string()),
            }
        }
        assert!(
            KEPT.lines().zip(&events).all(|(line, event)| {
                json::read_line(line.as_bytes()).is_ok_and(|kept| kept.1.as_ref() == Some(event))
            }),
            "cut at {at}"
        );
        // Four bytes tell that it is compressed; the last ones are a checksum's.
        if at >= 4 && events.len() < KEPT.lines().count() {
            let [said] = &*said else {
                panic!("cut at {at}: {said:?}");
            };
            let sentence = format!("the recording was cut in line {}", events.len() + 1);
            assert!(said.starts_with(&sentence), "cut at {at}: {said}");
        }
        if at >= 32 {
            assert!(events.len() >= events_before, "cut at {at}");
            events_before = events.len();
        }

        let mut index = Index::default();
        index
            .add(&file)
            .expect("what is there can be gone about in");
        assert_eq!(index.len(), events.len(), "cut at {at}");
        assert_eq!(
            index.has_footer(),
            events.len() == KEPT.lines().count(),
            "cut at {at}"
        );
    }
    assert_eq!(events_before, KEPT.lines().count());

    // What the commands say of some of them.
    for (at, code, sentence) in [
        (0, 2, "has no header line"),
        (3, 2, "has no header line"),
        (4, 2, "was cut in line 1"),
        (12, 2, "was cut in line 1"),
        (packed.len() / 2, 0, "was cut in line"),
    ] {
        let file = stage.file("cut.zst", &packed[..at]);
        for command in &EVERY_WAY[..2] {
            let output = limited(command, &[&file]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains(sentence), "cut at {at}: {stderr}");
            assert_eq!(output.status.code(), Some(code), "cut at {at}: {stderr}");
        }
    }
}

#[test]
fn headers_and_footers_in_odd_places_are_said() {
    let stage = Stage::new();
    let lines: Vec<&str> = KEPT.lines().collect();
    let count = lines.len();

    let twice = stage.file("twice", format!("{0}{0}", *KEPT));
    let sentence = format!("line {} of", count + 1);
    every_way(&[&twice], 2, &sentence);
    let replayed = limited("replay --format json", &[&twice]);
    assert!(
        String::from_utf8_lossy(&replayed.stdout) == *KEPT,
        "what was before is there"
    );
    let mut index = Index::default();
    assert!(
        index
            .add(&twice)
            .is_err_and(|error| error.to_string().contains(&format!("line {}", count + 1)))
    );

    // A footer in the middle ends nothing: the lines behind it are there.
    let mut moved = lines.clone();
    moved.insert(4, lines[count - 1]);
    let moved = stage.file("moved", moved.join("\n") + "\n");
    let said = every_way(&[&moved], 2, "the lines before line 5 are not all there");
    assert!(said[1].contains("EADDRINUSE"));

    let headless = stage.file("headless", lines[1..].join("\n") + "\n");
    every_way(&[&headless], 2, "has no header line");
    let later = stage.file(
        "later",
        KEPT.replacen("\"schema\":\"1\"", "\"schema\":\"2\"", 1),
    );
    every_way(&[&later], 2, "read it with a later tcpstate");
}

#[test]
fn parts_go_in_order_in_one_file_or_several() {
    let stage = Stage::new();
    let lines: Vec<&str> = KEPT.lines().collect();
    let header = |seq: usize, part: u32| {
        let mut header: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
        (header["seq"], header["part"]) = (seq.into(), part.into());
        header.to_string()
    };
    let texts = [
        lines[..5].join("\n") + "\n",
        format!("{}\n{}\n", header(4, 2), lines[5..8].join("\n")),
        format!("{}\n{}\n", header(7, 3), lines[8..].join("\n")),
    ];
    let parts: Vec<PathBuf> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| stage.file(&format!("r{at}"), text))
        .collect();
    let one = stage.file("one", texts.concat());

    let several: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
    the_rest_is_there(&every_way(&several, 0, ""));
    the_rest_is_there(&every_way(&[&one], 0, ""));
    for wrong in [[0, 2, 1], [1, 0, 2], [0, 1, 1]] {
        let files: Vec<&Path> = wrong.iter().map(|at| several[*at]).collect();
        every_way(&files, 2, "line 1 of");
        let mut index = Index::default();
        assert!(
            files.iter().try_for_each(|file| index.add(file)).is_err(),
            "{wrong:?}"
        );
    }
    let mut index = Index::default();
    index.add(&one).expect("it is one");
    assert_eq!(index.len(), lines.len());
    assert!(index.has_footer());
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let stage = Stage::new();
    let directory = stage.0.path();
    let empty = stage.file("empty", "");
    let lines = stage.file("lines", "\n".repeat(100_000));
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tcpstate"));

    every_way(&[directory], 2, "Is a directory");
    every_way(&[&empty], 2, "has no header line");
    every_way(&[&lines], 2, "has no header line");
    every_way(&[&program], 2, "has no header line");
    every_way(&[Path::new("/dev/null")], 2, "has no header line");
    let output = limited("replay --format json", &[Path::new("/proc/self/mem")]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_pipe_is_read_compressed_or_not() {
    let stage = Stage::new();
    let packed = compressed(None, |out| {
        out.write_all(KEPT.as_bytes()).expect("memory takes it");
    });
    for (name, bytes) in [("plain", KEPT.as_bytes()), ("packed", &packed)] {
        for command in EVERY_WAY {
            let fifo = stage.path(&format!("{name}-{}", command.replace(' ', "")));
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &fifo,
                rustix::fs::FileType::Fifo,
                0o600.into(),
                0,
            )
            .expect("a pipe can be made");
            let mut writer = Command::new("sh")
                .args(["-c", "cat > \"$1\"", "sh"])
                .arg(&fifo)
                .stdin(Stdio::piped())
                .spawn()
                .expect("sh is there");
            let mut stdin = writer.stdin.take().expect("it is piped");
            let bytes = bytes.to_vec();
            let feeding = std::thread::spawn(move || stdin.write_all(&bytes));

            let output = limited(command, &[&fifo]);

            feeding.join().expect("it ends").expect("it is read");
            writer.wait().expect("it ends");
            assert!(output.status.success(), "{name} {command}: {output:?}");
            let file = stage.file("kept", &*KEPT);
            assert!(
                output.stdout == limited(command, &[&file]).stdout,
                "{name} {command}"
            );
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
