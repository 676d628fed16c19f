//! What the fuzzers have found, and what is kept of recordings, goes through the
//! functions that they run.

#[path = "support/hostile.rs"]
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that the whole corpus may have.
const MAX_CORPUS: u64 = 1 << 20;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(top().join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// Runs each; a panic names its file.
fn run(folders: &[&str], body: fn(&[u8])) {
    for folder in folders {
        let files = files(folder);
        assert!(!files.is_empty(), "{folder} is empty");
        for file in files {
            let bytes = fs::read(&file).expect("it can be read");
            let result = std::panic::catch_unwind(|| body(&bytes));
            assert!(result.is_ok(), "{}", file.display());
        }
    }
}

const KEPT: [&str; 3] = [
    "tcpstate/tests/traces",
    "tcpstate/tests/data/recordings",
    "tcpstate/tests/data/report",
];

#[test]
fn recordings() {
    run(
        &["fuzz/corpus/recording", "fuzz/corpus/report"],
        hostile::recording,
    );
    run(&KEPT, hostile::recording);
}

#[test]
fn reports() {
    run(
        &["fuzz/corpus/report", "fuzz/corpus/recording"],
        hostile::report,
    );
    run(&KEPT, hostile::report);
}

#[test]
fn kernel_records() {
    run(&["fuzz/corpus/kernel_record"], hostile::kernel_record);
}

#[test]
fn every_fuzzer_has_a_corpus_and_all_of_it_is_small() {
    for target in files("fuzz/fuzz_targets") {
        let name = target
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let corpus = files(&format!("fuzz/corpus/{name}"));
        let size: u64 = corpus
            .iter()
            .map(|file| fs::metadata(file).expect("it is there").len())
            .sum();
        assert!(size > 0 && size < MAX_CORPUS / 3, "{name}: {size} bytes");
    }
}

/// Inputs for the fuzzer of kernel records to begin with: one of each kind.
/// `UPDATE_EXPECT=1` writes them.
#[test]
fn each_kind_of_kernel_record_is_in_the_corpus() {
    for (name, seed) in seeds::of_kernel_records() {
        let file = top().join("fuzz/corpus/kernel_record").join(name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&file, &seed).expect("it can be written");
        }
        assert_eq!(fs::read(&file).ok(), Some(seed), "{name}");
    }
}

mod seeds {
    use tcpstate_common::record::{
        AF_INET, AF_INET6, CallRecord, FailedCallRecord, Kind, RecordHeader, ResetRecord,
        SharingWire, SocketWire, StateRecord, TaskWire, call, direction, mini, sharing,
        socket_flags, userlocks, via,
    };
    use zerocopy::{FromZeros as _, IntoBytes};

    pub(super) fn of_kernel_records() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("seed-state", states()),
            ("seed-reset", resets()),
            ("seed-call", calls()),
            ("seed-failed-call", failed_calls()),
            ("seed-port", port()),
        ]
    }

    fn header(kind: Kind, mono_ns: u64) -> RecordHeader {
        RecordHeader {
            kind: kind as u16,
            mono_ns,
            ..RecordHeader::new_zeroed()
        }
    }

    fn socket(family: u16) -> SocketWire {
        let mut wire = SocketWire::new_zeroed();
        wire.cookie = 7;
        wire.family = family;
        wire.local_addr[..4].copy_from_slice(&[127, 0, 0, 1]);
        wire.peer_addr[..4].copy_from_slice(&[127, 0, 0, 1]);
        wire.local_port = 8080;
        wire.peer_port = 40_000;
        wire.netns = 1;
        wire
    }

    fn task() -> TaskWire {
        let mut task = TaskWire::new_zeroed();
        (task.pid, task.tid, task.ppid) = (10, 10, 1);
        task.comm[..6].copy_from_slice(b"server");
        task
    }

    /// As the fuzzer takes it: without the zeros at its end.
    fn piece(record: &(impl IntoBytes + zerocopy::Immutable), out: &mut Vec<u8>) {
        let bytes = record.as_bytes();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        out.push(1);
        out.extend(u16::try_from(end).expect("records are short").to_le_bytes());
        out.extend(&bytes[..end]);
    }

    fn states() -> Vec<u8> {
        let mut out = Vec::new();
        for (at, (old, new)) in [(7, 10), (3, 1), (1, 4), (4, 5), (5, 7)]
            .into_iter()
            .enumerate()
        {
            let mut record = StateRecord::new_zeroed();
            record.header = header(Kind::State, 1_000 * at as u64);
            record.socket = socket(if at % 2 == 0 { AF_INET } else { AF_INET6 });
            (record.old, record.new) = (old, new);
            record.task = task();
            if new == 7 {
                record.mini = mini::FOUND;
                record.mini_state = 6;
                record.mini_flags = socket_flags::MINI | socket_flags::REUSEADDR;
                record.mini_expires_ms = 60_000;
            }
            piece(&record, &mut out);
        }
        out
    }

    fn resets() -> Vec<u8> {
        let mut out = Vec::new();
        for direction in [direction::SENT, direction::RECEIVED] {
            let mut record = ResetRecord::new_zeroed();
            record.header = header(Kind::Reset, 5);
            record.socket = socket(AF_INET);
            record.socket.state = 1;
            (record.direction, record.has_socket) = (direction, 1);
            (record.has_reason, record.reason) = (1, 1);
            piece(&record, &mut out);
        }
        out
    }

    fn a_call(kind: Kind, call: u8, errno: u32) -> CallRecord {
        let mut record = CallRecord::new_zeroed();
        record.header = header(kind, 9);
        record.socket = socket(AF_INET);
        (record.call, record.via) = (call, via::SYSCALL);
        (record.addr_len, record.errno) = (16, errno);
        record.requested[..2].copy_from_slice(&AF_INET.to_ne_bytes());
        record.requested[2..4].copy_from_slice(&8080_u16.to_be_bytes());
        record.unprivileged_port_start = 1024;
        record.task = task();
        record
    }

    fn calls() -> Vec<u8> {
        let mut out = Vec::new();
        for call in [call::BIND, call::LISTEN, call::CONNECT, call::ACCEPT] {
            piece(&a_call(Kind::Call, call, 0), &mut out);
        }
        out
    }

    fn failed(kind: Kind) -> FailedCallRecord {
        let mut record = FailedCallRecord::new_zeroed();
        record.call = a_call(kind, call::BIND, 98);
        (record.walk, record.recorded, record.visited) = (1, 2, 2);
        (record.has_uid, record.uid) = (1, 1000);
        record.admits_reuseaddr = 1;
        record.argv[..7].copy_from_slice(b"a\0-b\0c\0");
        record.argv_len = 7;
        record.sharing = SharingWire {
            family: AF_INET,
            mode: sharing::ANY_ADDRESS,
            ..SharingWire::new_zeroed()
        };
        for (holder, state) in record.holders.iter_mut().zip([10, 6]) {
            holder.socket = socket(AF_INET);
            holder.socket.state = state;
            (holder.inode, holder.has_owner_fields) = (4242, 1);
            holder.userlocks = userlocks::BINDPORT;
        }
        record.holders[1].socket.flags = socket_flags::MINI;
        record.holders[1].expires_ms = 59_000;
        record
    }

    fn failed_calls() -> Vec<u8> {
        let mut out = Vec::new();
        piece(&failed(Kind::FailedCall), &mut out);
        out
    }

    fn port() -> Vec<u8> {
        let mut out = Vec::new();
        piece(&failed(Kind::Port), &mut out);
        out
    }
}
