//! What is done with bytes of strangers, and what must hold whatever they are.
//! The fuzzers and the test over their corpus run the same functions.

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use tcpstate::engine::Limits;
use tcpstate::event::{Body, ClockAnchor, Event};
use tcpstate::export::json;
use tcpstate::kernel::Decoder;
use tcpstate::pipeline::outputs::Stdout;
use tcpstate::pipeline::{Outputs, Pipeline, Selector};
use tcpstate::recording::index::Index;
use tcpstate::recording::input;
use tcpstate::recording::reader::{ReadError, Reader};
use tcpstate::report::{Builder, Reading, Report, html, markdown};
use tcpstate_common::record::{FailedCallRecord, SnapshotRecord};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Small, so that they are reached.
fn limits() -> Limits {
    Limits {
        sockets: 64,
        events: 1 << 13,
        failures: 16,
    }
}

/// Bytes that an input may unpack to before the rest is left alone: a fuzzer
/// has no patience.
const MAX_UNPACKED: u64 = 1 << 20;

/// Bytes as a recording: replayed as JSON and as text, and gone about in.
///
/// The JSON replays to itself; the text holds no control character; the index
/// finds what the reader finds.
pub(crate) fn recording(bytes: &[u8]) {
    let events = events(bytes);
    let replayed = replay(&events, Form::Json);
    let again = replay(&self::events(&replayed), Form::Json);
    if let Some((one, other)) = first_difference(&replayed, &again) {
        panic!("a replay replays to something else:\n{one}\n{other}");
    }
    assert_harmless(&replay(&events, Form::Text));

    let mut file = tempfile::NamedTempFile::new().expect("there is room");
    file.write_all(bytes).expect("there is room");
    let mut index = Index::default();
    if index.add(file.path()).is_ok() {
        for event in (0..index.len()).rev() {
            let read = index.read(event).expect("the file is there");
            assert!(read.is_none_or(|read| read.mono_ns <= index.time(event)));
        }
    }
}

/// Bytes as a recording, and all that can be told of it.
pub(crate) fn report(bytes: &[u8]) {
    let mut builder = Builder::new();
    let mut reading = Reading::default();
    for event in reader(bytes) {
        match event {
            Ok(event) => builder.observe(event.mono_ns, event.body),
            Err(ReadError::Cut { line }) => reading.cut_in_line = Some(line),
            Err(error) => {
                reading.unreadable_lines += 1;
                reading.unreadable.push(error.to_string());
            }
        }
    }
    let Some(report) = builder.finish(reading) else {
        return;
    };
    report_is_harmless(&report);
}

fn report_is_harmless(report: &Report) {
    let page = html::render(report);
    assert_harmless(page.as_bytes());
    let rest = page.strip_prefix("<!DOCTYPE html>").expect("a page");
    assert!(!rest.to_ascii_lowercase().contains("<script"), "{page}");
    assert_harmless(markdown::render(report).as_bytes());
    serde_json::to_vec(report).expect("it is JSON");
}

/// Bytes as records of the kernel program: each has a byte of which the lowest
/// bit says that zeros follow up to the longest record, a length of two bytes,
/// and its bytes. What they say goes the whole way to the outputs.
pub(crate) fn kernel_record(bytes: &[u8]) {
    let reasons = [(1, "SK_RST_REASON_NO_SOCKET".to_owned())];
    let decoders = [
        Decoder::new(&reasons, true).keeping_orphans_user(true),
        Decoder::new(&[], false),
    ];
    let mut events = vec![header()];
    for (at, record) in records(bytes).iter().enumerate() {
        let decoder = &decoders[at % decoders.len()];
        if let Ok((snapshot, _)) = SnapshotRecord::read_from_prefix(record) {
            let _ = decoder.snapshot(&snapshot);
        }
        let _ = decoder.port(record);
        let Ok((mono_ns, body)) = decoder.event(record) else {
            continue;
        };
        let event = Event {
            seq: at as u64,
            mono_ns,
            body,
        };
        let mut line = Vec::new();
        json::write_line(&event, ClockAnchor::default(), &mut line).expect("every event has one");
        assert_eq!(
            json::read_line(&line).expect("it was just written"),
            (event.seq, Some(event.clone())),
            "{}",
            String::from_utf8_lossy(&line)
        );
        events.push(event);
    }
    let told = replay(&events, Form::Json);
    assert_eq!(
        first_difference(&told, &replay(&self::events(&told), Form::Json)),
        None
    );
    assert_harmless(&replay(&events, Form::Text));
}

fn header() -> Event {
    let kept = include_str!("../traces/refused.jsonl");
    let line = kept.lines().next().expect("a header").as_bytes();
    let (_, header) = json::read_line(line).expect("it is of this version");
    header.expect("it is of this version")
}

/// The records, as the ring buffer has them: on a border of eight bytes.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [flags, low, high, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (record, rest) = rest.split_at(length);
        let longest = size_of::<FailedCallRecord>();
        let length = if flags & 1 == 1 {
            longest
        } else {
            length.min(longest)
        };
        let mut words = vec![0_u64; longest.div_ceil(8)];
        let taken = record.len().min(length);
        words.as_mut_bytes()[..taken].copy_from_slice(&record[..taken]);
        records.push(words.as_bytes()[..length].to_vec());
        bytes = rest;
    }
    records
}

fn reader(bytes: &[u8]) -> Reader<impl io::BufRead> {
    let input = input::of(Cursor::new(bytes.to_vec())).expect("memory can be read");
    Reader::new(io::BufReader::new(io::Read::take(input, MAX_UNPACKED)))
}

/// From the header on, as a replay has it.
fn events(bytes: &[u8]) -> Vec<Event> {
    reader(bytes)
        .flatten()
        .skip_while(|event| !matches!(event.body, Body::Header(_)))
        .collect()
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

fn replay(events: &[Event], form: Form) -> Vec<u8> {
    let out = Shared::default();
    let stdout: Box<dyn Write> = Box::new(out.clone());
    let stdout = match form {
        Form::Json => Stdout::Json(stdout),
        Form::Text => Stdout::Text(stdout),
    };
    let mut pipeline = Pipeline::new(limits(), Selector::default(), Outputs::new(stdout, None));
    for event in events {
        pipeline
            .feed(event.mono_ns, event.body.clone())
            .expect("memory takes it");
    }
    pipeline.write_out().expect("memory takes it");
    drop(pipeline);
    out.0.take()
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<(String, String)> {
    let lines = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (one, other) = (lines(one), lines(other));
    (0..one.len().max(other.len()))
        .map(|at| {
            let of = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            (of(&one), of(&other))
        })
        .find(|(one, other)| one != other)
}

/// Text that a terminal, or a reader, cannot be led astray with.
#[track_caller]
fn assert_harmless(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("it is text");
    let odd = text
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || is_direction(*c));
    assert_eq!(odd, None, "{}", text.escape_debug());
}

/// Turns the direction of writing.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}
