//! Recordings while they are written: parts, compression, files that vanish,
//! disks that fill, a program that is killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tcpstate::clock;

use support::{TCPSTATE, connection, drain, listener, on_stage, run, wait_until};

const SERVER: &str = "127.0.0.1:8080";

fn churn(connections: usize) {
    let listening = listener(SERVER, true);
    for _ in 0..connections {
        let (server, client) = connection(&listening, SERVER);
        drop(server);
        drain(&client);
    }
}

/// The program recording, its JSON in a file beside.
struct Recorder {
    child: Child,
    stdout: PathBuf,
}

impl Recorder {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let stdout = dir.join("stdout.jsonl");
        let child = Command::new(TCPSTATE)
            .args(["watch", "--json", "--netns", "self"])
            .args(arguments)
            .current_dir(dir)
            .env("SUDO_UID", "65534")
            .env("SUDO_GID", "65534")
            .stdout(fs::File::create(&stdout).expect("it can be created"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpstate starts");
        let recorder = Self { child, stdout };
        recorder.wait_until("the header", |text| text.contains('\n'));
        recorder
    }

    #[track_caller]
    fn wait_until(&self, what: &str, fits: impl Fn(&str) -> bool) {
        for _ in 0..600 {
            if fits(&fs::read_to_string(&self.stdout).unwrap_or_default()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no {what} in 30 s");
    }

    /// Ends it; its JSON and what it said on stderr.
    fn finish(self) -> (String, String) {
        let (stdout, said, _) = self.end();
        (stdout, said)
    }

    /// The same, with the exit code.
    fn end(mut self) -> (String, String, Option<i32>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
        let stderr = self.child.stderr.take().expect("stderr is piped");
        let said: Vec<String> = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .collect();
        let status = self.child.wait().expect("it ends");
        let stdout = fs::read_to_string(&self.stdout).expect("it was written");
        (stdout, said.join("\n"), status.code())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn replay(files: &[PathBuf]) -> String {
    let files: Vec<&str> = files
        .iter()
        .map(|file| file.to_str().expect("a path"))
        .collect();
    let output = run(&[&["replay", "--json"], &files[..]].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Compared by line: a whole recording would fill the screen.
#[track_caller]
fn assert_same(left: &str, right: &str) {
    for (at, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(left, right, "line {at}");
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

fn parts(dir: &Path) -> Vec<PathBuf> {
    let mut parts = vec![dir.join("r.jsonl")];
    while let Some(next) =
        Some(dir.join(format!("r.{}.jsonl", parts.len() + 1))).filter(|path| path.exists())
    {
        parts.push(next);
    }
    parts
}

#[test]
fn parts_one_after_the_other_are_the_recording() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let recorder = Recorder::start(
        dir.path(),
        &["--record", "r.jsonl", "--rotate-size", "64KiB"],
    );
    for _ in 0..3 {
        churn(60);
        std::thread::sleep(Duration::from_millis(1200));
    }
    let (stdout, said) = recorder.finish();

    let parts = parts(dir.path());
    assert!(parts.len() >= 3, "{} parts: {said}", parts.len());
    for (at, part) in parts.iter().enumerate() {
        let text = fs::read_to_string(part).expect("it can be read");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let metadata = fs::metadata(part).expect("it is there");
        assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, 65534));
        assert_eq!(lines[0]["event"], "header");
        assert_eq!(lines[0]["part"].as_u64(), (at > 0).then_some(at as u64 + 1));
        let first = lines[0]["seq"].as_u64().expect("a position");
        assert!(
            lines
                .iter()
                .zip(first..)
                .all(|(line, seq)| line["seq"] == seq),
            "{part:?} has gaps"
        );
    }
    assert_same(&replay(&parts), &stdout);

    let alone = run(&["replay", "--json", parts[1].to_str().expect("a path")]);
    assert!(alone.status.success());
    assert!(String::from_utf8_lossy(&alone.stderr).contains("part 2 of a recording"));
    let swapped = run(&[
        "replay",
        "--json",
        parts[0].to_str().expect("a path"),
        parts[2].to_str().expect("a path"),
    ]);
    assert_eq!(swapped.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&swapped.stderr).contains("does not follow"));
}

#[test]
fn parts_that_are_too_old_go() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let recorder = Recorder::start(
        dir.path(),
        &[
            "--record",
            "r.jsonl",
            "--rotate-age",
            "1s",
            "--rotate-keep",
            "2",
        ],
    );
    std::thread::sleep(Duration::from_millis(4500));
    recorder.finish();

    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("it can be read")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("r."))
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!names.contains(&"r.jsonl".to_owned()), "{names:?}");
}

#[test]
fn a_compressed_recording_replays_to_the_same_bytes_and_is_private() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("r.jsonl.zst");
    let recorder = Recorder::start(dir.path(), &["--record", "r.jsonl.zst"]);
    churn(50);
    let (stdout, said) = recorder.finish();

    assert_eq!(said, "");
    let metadata = fs::metadata(&file).expect("it is there");
    assert_eq!(
        (metadata.mode() & 0o777, metadata.uid(), metadata.gid()),
        (0o600, 65534, 65534)
    );
    assert!(
        metadata.len() * 4 < stdout.len() as u64,
        "{} of {}",
        metadata.len(),
        stdout.len()
    );
    assert_same(&replay(&[file]), &stdout);
}

#[test]
fn a_program_that_is_killed_leaves_all_that_it_had_told() {
    if !on_stage(&[]) {
        return;
    }
    for (name, is_compressed) in [("r.jsonl", false), ("r.jsonl.zst", true)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut recorder = Recorder::start(dir.path(), &["--record", name]);
        churn(100);
        recorder.wait_until("time_wait", |text| text.contains("tcp.time_wait.enter"));
        let file = dir.path().join(name);
        let replayed = || {
            let output = run(&["replay", "--json", file.to_str().expect("a path")]);
            String::from_utf8(output.stdout).expect("text")
        };
        let told = fs::read_to_string(&recorder.stdout).expect("it was written");
        if is_compressed {
            // A compressed file is made readable once a second.
            let deadline_ns = clock::monotonic_ns() + 10_000_000_000;
            while replayed().lines().count() < told.lines().count() {
                assert!(clock::monotonic_ns() < deadline_ns, "it stays unreadable");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        recorder.child.kill().expect("it is there");
        recorder.child.wait().expect("it ends");

        let recorded = replayed();
        let told: Vec<&str> = told.lines().collect();
        let recorded: Vec<&str> = recorded.lines().collect();
        assert!(
            recorded.len() >= told.len() - 1,
            "{} of {}",
            recorded.len(),
            told.len()
        );
        assert_eq!(recorded[..told.len() - 1], told[..told.len() - 1]);
    }
}

#[test]
fn a_recording_that_is_deleted_is_said_and_begun_anew() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let recorder = Recorder::start(dir.path(), &["--record", "r.jsonl"]);
    fs::remove_file(dir.path().join("r.jsonl")).expect("it is there");
    wait_until("it is begun anew", || dir.path().join("r.jsonl").exists());
    churn(10);
    let (stdout, said) = recorder.finish();

    assert!(said.contains("r.jsonl was deleted"), "{said}");
    let text = fs::read_to_string(dir.path().join("r.jsonl")).expect("it is there again");
    let first: serde_json::Value =
        serde_json::from_str(text.lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!(first["event"], "header");
    // Every line but the header is the end of what was told.
    let again: Vec<&str> = text.lines().skip(1).collect();
    let told: Vec<&str> = stdout.lines().collect();
    assert!(again.len() > 10, "{text}");
    assert_eq!(again[..], told[told.len() - again.len()..]);
}

#[test]
fn a_recording_whose_folder_is_deleted_is_said_once_and_is_an_exit_code() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("d")).expect("it can be made");
    let recorder = Recorder::start(dir.path(), &["--record", "d/r.jsonl"]);
    fs::remove_dir_all(dir.path().join("d")).expect("it is there");
    std::thread::sleep(Duration::from_millis(3500));
    let (stdout, said, code) = recorder.end();

    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches("cannot be begun anew").count(), 1, "{said}");
    let lacking = format!("the recording lacks {} lines", stdout.lines().count());
    assert!(said.contains(&lacking), "{said}");
}

#[test]
fn a_recording_that_is_deleted_just_before_the_end_is_an_exit_code() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let recorder = Recorder::start(dir.path(), &["--record", "r.jsonl"]);
    fs::remove_file(dir.path().join("r.jsonl")).expect("it is there");
    let (_, said, code) = recorder.end();

    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("r.jsonl was deleted"), "{said}");
}

#[test]
fn what_was_there_before_keeps_its_owner_and_a_link_at_a_later_part_is_not_followed() {
    if !on_stage(&[]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("r.jsonl"), "of before").expect("it can be written");
    fs::write(at("target"), "of before").expect("it can be written");
    std::os::unix::fs::symlink(at("target"), at("r.2.jsonl")).expect("it can be made");
    let recorder = Recorder::start(dir.path(), &["--record", "r.jsonl", "--rotate-age", "1s"]);
    std::thread::sleep(Duration::from_millis(3500));
    let (stdout, said) = recorder.finish();

    assert!(said.contains("r.2.jsonl: it is a symbolic link"), "{said}");
    assert_eq!(
        fs::read_to_string(at("target")).expect("it is there"),
        "of before"
    );
    let first = fs::metadata(at("r.jsonl")).expect("it is there");
    assert_eq!((first.uid(), first.mode() & 0o777), (0, 0o600));
    let later = fs::metadata(at("r.3.jsonl")).expect("it goes on there");
    assert_eq!((later.uid(), later.mode() & 0o777), (65534, 0o600));
    assert!(stdout.contains("footer"));
}

/// A file system of 256 KiB, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        rustix::mount::mount(
            "tmpfs",
            dir.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(c"size=256k"),
        )
        .expect("root may mount");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_said_at_once_and_what_is_written_later_is_whole() {
    if !on_stage(&[]) {
        return;
    }
    let disk = SmallDisk::mount();
    let dir = tempfile::tempdir().expect("a directory");
    let file = disk.0.path().join("r.jsonl");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 200 << 10]).expect("there is room");
    let recorder = Recorder::start(dir.path(), &["--record", file.to_str().expect("a path")]);
    churn(100);
    std::thread::sleep(Duration::from_millis(500));
    fs::remove_file(ballast).expect("it is there");
    churn(20);
    let (_, said) = recorder.finish();

    assert!(said.contains("cannot write the recording"), "{said}");
    assert!(said.contains("the recording lacks"), "{said}");
    let replayed = run(&["replay", "--json", file.to_str().expect("a path")]);
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    assert!(stderr.contains("not all there"), "{stderr}");
    assert!(
        !stderr.contains("is not an event"),
        "no line is broken: {stderr}"
    );
    let text = fs::read_to_string(file).expect("it can be read");
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.contains("\"footer\""))
    );
}

#[test]
fn a_full_disk_costs_a_compressed_recording_what_was_told_meanwhile_and_no_more() {
    if !on_stage(&[]) {
        return;
    }
    let disk = SmallDisk::mount();
    let dir = tempfile::tempdir().expect("a directory");
    let file = disk.0.path().join("r.jsonl.zst");
    let ballast = disk.0.path().join("ballast");
    let recorder = Recorder::start(dir.path(), &["--record", file.to_str().expect("a path")]);
    fs::write(&ballast, vec![0; 240 << 10]).expect("there is room");
    for _ in 0..4 {
        churn(100);
        std::thread::sleep(Duration::from_millis(1200));
    }
    fs::remove_file(ballast).expect("it is there");
    churn(20);
    std::thread::sleep(Duration::from_millis(1200));
    let (stdout, said) = recorder.finish();

    assert!(said.contains("cannot write the recording"), "{said}");
    assert!(said.contains("the recording lacks"), "{said}");
    let replayed = run(&["replay", "--json", file.to_str().expect("a path")]);
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    assert!(stderr.contains("not all there"), "{stderr}");
    assert!(
        !stderr.contains("cannot read"),
        "the frame is whole: {stderr}"
    );
    // Half a line at each place where the disk was full, at most.
    assert!(stderr.matches("is not an event").count() < 5, "{stderr}");
    let packed = fs::File::open(&file).expect("it is there");
    let text = zstd::decode_all(packed).expect("the frame is whole");
    let text = String::from_utf8(text).expect("text");
    let mut kept = text.lines().filter(|line| !line.is_empty());
    assert_eq!(kept.next_back(), stdout.lines().last(), "the footer");
    assert!(text.lines().count() < stdout.lines().count());
}
