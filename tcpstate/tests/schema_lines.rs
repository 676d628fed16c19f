//! Two million lines that the program writes are of its schema. What goes in is
//! what real kernels told: the recordings that are kept, again and again, with
//! events left out, swapped and told twice, so that what is derived comes out
//! otherwise each time.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use support::lines::Lines;
use tcpstate::clock;
use tcpstate::engine::Limits;
use tcpstate::event::{Body, Event, Loss, LossStage};
use tcpstate::pipeline::outputs::Stdout;
use tcpstate::pipeline::{Outputs, Pipeline, Selector};
use tcpstate::recording::reader::Reader;

const LINES: u64 = 2_000_000;
/// Threads: each has its own part of them.
const THREADS: u64 = 2;

#[test]
fn millions_of_lines_are_of_the_schema() {
    let wanted = std::env::var("TCPSTATE_SCHEMA_LINES")
        .map_or(LINES, |text| text.parse().expect("a number"));
    let began_ns = clock::monotonic_ns();
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| std::thread::spawn(move || run(seed, wanted / THREADS)))
        .collect();
    let counts: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("every line is of the schema"))
        .collect();

    let mut total = 0;
    let mut by_event = std::collections::BTreeMap::new();
    for (event, count) in counts.into_iter().flatten() {
        *by_event.entry(event).or_insert(0) += count;
        total += count;
    }
    let ms = (clock::monotonic_ns() - began_ns) / 1_000_000;
    println!("{total} lines in {ms} ms: {by_event:?}");
    assert!(total >= wanted);
    // Each event that there is, and not once only.
    for name in [
        "header",
        "socket",
        "tcp.state",
        "tcp.time_wait.enter",
        "tcp.time_wait.exit",
        "tcp.reset",
        "bind",
        "listen",
        "diagnosis",
        "restart",
        "loss",
        "tick",
        "footer",
    ] {
        assert!(
            by_event.get(name).is_some_and(|count| *count > 100),
            "{name}: {by_event:?}"
        );
    }
}

fn recordings() -> Vec<Vec<Event>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files: Vec<PathBuf> = ["traces", "data/recordings", "data/report"]
        .iter()
        .flat_map(|folder| fs::read_dir(top.join(folder)).expect("recordings are kept"))
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let file = File::open(file).expect("it is there");
            Reader::new(BufReader::new(file))
                .map(|event| event.expect("every line is read"))
                .collect()
        })
        .collect()
}

/// One thread's lines, by event.
fn run(seed: u64, wanted: u64) -> Vec<(String, u64)> {
    let recordings = recordings();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let lines = Rc::new(RefCell::new(Lines::of_the_schema()));
    while lines.borrow().total() < wanted {
        // A run of some recordings, one after the other.
        let out = Box::new(Checked {
            lines: Rc::clone(&lines),
            rest: Vec::new(),
        });
        let outputs = Outputs::new(Stdout::Json(out), None);
        let mut pipeline = Pipeline::new(Limits::default(), Selector::default(), outputs);
        let mut now_ns = 0;
        for _ in 0..20 {
            let recording = random.of(&recordings);
            let first_ns = recording.first().map_or(0, |event| event.mono_ns);
            let began_ns = now_ns;
            let mut at = 0;
            while at < recording.len() {
                let event = match random.below(16) {
                    0 => {
                        at += 1;
                        continue;
                    }
                    1 => random.of(recording),
                    2 => &recording[at.saturating_sub(1)],
                    _ => &recording[at],
                };
                if random.below(16) > 0 {
                    at += 1;
                }
                now_ns = began_ns + event.mono_ns.saturating_sub(first_ns);
                pipeline
                    .feed(now_ns, varied(&event.body, &mut random))
                    .expect("memory takes it");
            }
            now_ns += random.below(70) * 1_000_000_000;
        }
        pipeline.finish(now_ns, "test").expect("memory takes it");
    }
    let counts = std::mem::take(&mut lines.borrow_mut().counts);
    counts.into_iter().collect()
}

/// The same, with what need not be known left out now and then.
fn varied(body: &Body, random: &mut Random) -> Body {
    let mut body = body.clone();
    let forgets = random.below(8) == 0;
    match &mut body {
        Body::State(change) if forgets => {
            (change.process, change.listener) = (None, None);
        }
        Body::State(change) => change.sock.cookie += random.below(3),
        Body::Socket(seen) if forgets => seen.process = None,
        Body::Reset(reset) if forgets => (reset.sock, reset.state) = (None, None),
        Body::Bind(call) | Body::Listen(call) | Body::Connect(call) if forgets => {
            (call.seen, call.sysctls, call.sock) = (None, None, None);
        }
        Body::Bind(call) | Body::Listen(call) => {
            if let Some(seen) = &mut call.seen {
                seen.is_complete = random.below(4) > 0;
            }
        }
        Body::Tick(_) if forgets => {
            return Body::Loss(Loss {
                stage: LossStage::Kernel,
                count: random.below(3),
                resynced: random.below(2) == 0,
            });
        }
        _ => {}
    }
    body
}

/// Takes the output line by line.
struct Checked {
    lines: Rc<RefCell<Lines>>,
    rest: Vec<u8>,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = std::str::from_utf8(&line[..end]).expect("it is text");
            self.lines.borrow_mut().check(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `SplitMix64`: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).expect("it is below the length")]
    }
}
