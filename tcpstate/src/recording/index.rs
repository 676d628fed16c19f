//! The index of a recording: where each event is, so that one can seek to any of
//! them without reading the rest.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::input::{self, Seekable};
use super::line::{head, parse, parse_fact};
use super::line_scanner::{LineScanner, ScanStep, ScannedLine};
use super::line_store::{BLOCK, LineBatch, LineStore, Location};
use crate::event::{Body, Event};

/// Events that an index takes: 16 bytes each.
pub const MAX_EVENTS: usize = 32 << 20;
/// Bytes that a compressed recording may unpack to: they go to a file without a
/// name in the temporary directory.
pub const MAX_UNPACKED: u64 = 8 << 30;

/// A recording could not be indexed.
#[derive(Debug, Error)]
pub enum IndexError {
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It has more events than an index takes.
    #[error("it has more than {MAX_EVENTS} events; read it with --format text")]
    TooManyEvents,
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {MAX_UNPACKED} bytes; read it with --format text")]
    TooLarge,
    /// A header of another recording in the middle.
    #[error("another recording begins in line {line}: replay it by itself")]
    Another {
        /// Number of the line, from 1.
        line: u64,
    },
    /// A part does not go on where the lines before it ended.
    #[error(
        "the part that begins in line {line} does not follow on what is before it: name all parts in order"
    )]
    OutOfOrder {
        /// Number of the line, from 1.
        line: u64,
    },
}

/// Where and when an event is.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    location: Location,
    /// The latest time up to here: events need not be in its order.
    latest_ns: u64,
}

/// What kind of event a [`Landmark`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandmarkKind {
    /// The diagnosis of a failed call.
    Failure,
    /// A restart.
    Restart,
}

/// An event that is worth a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// Its number.
    pub event: usize,
    /// What it is.
    pub kind: LandmarkKind,
}

/// The locations of all events of a recording, in one file or several.
///
/// It is made piece by piece: what was found so far can be used meanwhile.
#[derive(Debug, Default)]
pub struct Index {
    store: LineStore,
    entries: Vec<IndexEntry>,
    landmarks: Vec<Landmark>,
    bad_lines: u64,
    has_footer: bool,
    queue: VecDeque<QueuedFile>,
    /// The file that is read, and what it is called.
    scanner: Option<(LineScanner, PathBuf)>,
    /// Bytes of all files, as they are, and of those that were read.
    bytes: u64,
    read_bytes: u64,
}

#[derive(Debug)]
struct QueuedFile {
    path: PathBuf,
    size: u64,
}

impl Index {
    /// Indexes one more file, which goes on where the last one ended.
    pub fn add(&mut self, path: &Path) -> Result<(), IndexError> {
        self.enqueue(path)?;
        while self.advance(u64::MAX)? {}
        Ok(())
    }

    /// One more file that [`Self::advance`] is to read, after those before it.
    pub fn enqueue(&mut self, path: &Path) -> Result<(), IndexError> {
        let size = input::seekable_size(path)?;
        self.bytes += size;
        self.queue.push_back(QueuedFile {
            path: path.to_owned(),
            size,
        });
        Ok(())
    }

    /// Reads about `bytes` more. `false`: all was read.
    pub fn advance(&mut self, bytes: u64) -> Result<bool, IndexError> {
        let mut budget = bytes;
        while budget > 0 {
            let Some((scanner, _)) = &mut self.scanner else {
                if !self.open_next()? {
                    return Ok(false);
                }
                continue;
            };
            match scanner.next(&mut budget) {
                Ok(ScanStep::Line(found)) => {
                    self.add_line(&found)?;
                    if let Some((scanner, _)) = &mut self.scanner {
                        scanner.reuse(found);
                    }
                }
                Ok(ScanStep::BudgetSpent) => break,
                Ok(ScanStep::End) => {
                    self.read_bytes += scanner.read_bytes();
                    self.scanner = None;
                }
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(IndexError::TooLarge);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(!self.is_complete())
    }

    fn open_next(&mut self) -> Result<bool, IndexError> {
        let Some(QueuedFile { path, size }) = self.queue.front() else {
            return Ok(false);
        };
        let Seekable {
            store,
            text,
            source,
        } = input::open_seekable(path, MAX_UNPACKED)?;
        // It may have grown.
        let grown = source.metadata()?.len().saturating_sub(*size);
        self.bytes = self.bytes.saturating_add(grown);
        self.store.add(store);
        if let Some(QueuedFile { path, .. }) = self.queue.pop_front() {
            self.scanner = Some((LineScanner::new(text, source), path));
        }
        Ok(true)
    }

    fn add_line(&mut self, found: &ScannedLine) -> Result<(), IndexError> {
        let line = &found.line;
        let Some((name, mono_ns)) = head(line) else {
            if found.is_too_long || !line.iter().all(u8::is_ascii_whitespace) {
                self.bad_lines += 1;
            }
            return Ok(());
        };
        // Of later parts the header says nothing new.
        if name == "header" && !self.entries.is_empty() {
            return self.check_part(line, found.number);
        }
        self.has_footer = name == "footer";
        let kind = match &*name {
            "diagnosis" => Some(LandmarkKind::Failure),
            "restart" => Some(LandmarkKind::Restart),
            _ => None,
        };
        let event = self.entries.len();
        let landmark = kind.map(|kind| Landmark { event, kind });
        self.landmarks.extend(landmark);
        if self.entries.len() >= MAX_EVENTS {
            return Err(IndexError::TooManyEvents);
        }
        self.entries.push(IndexEntry {
            location: self.store.locate(found.offset),
            latest_ns: mono_ns.max(self.time(usize::MAX)),
        });
        Ok(())
    }

    /// Whether a header in the middle is that of the part that comes next.
    fn check_part(&mut self, line: &[u8], number: u64) -> Result<(), IndexError> {
        let Some(Event {
            seq,
            body: Body::Header(header),
            ..
        }) = parse(line)
        else {
            self.bad_lines += 1;
            return Ok(());
        };
        if header.part.is_none() {
            return Err(IndexError::Another { line: number });
        }
        let last = self.read(self.entries.len() - 1)?;
        if last.is_some_and(|last| last.seq != seq) {
            return Err(IndexError::OutOfOrder { line: number });
        }
        Ok(())
    }

    /// Whether all was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.scanner.is_none() && self.queue.is_empty()
    }

    /// How much of it was read, in percent; below 100 while it is not complete.
    #[must_use]
    pub fn percent(&self) -> u8 {
        if self.is_complete() {
            return 100;
        }
        let scanned = self
            .scanner
            .as_ref()
            .map_or(0, |(scanner, _)| scanner.read_bytes());
        let read = u128::from(self.read_bytes.saturating_add(scanned));
        u8::try_from(read * 100 / u128::from(self.bytes.max(1))).map_or(99, |part| part.min(99))
    }

    /// The file that is read, or is next.
    #[must_use]
    pub fn reading(&self) -> Option<&Path> {
        let scanned = self.scanner.as_ref().map(|(_, path)| path);
        let next = || self.queue.front().map(|queued| &queued.path);
        scanned.or_else(next).map(PathBuf::as_path)
    }

    /// Events so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No event at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lines that are no events.
    #[must_use]
    pub fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Whether the recording ends with a footer: it was not cut.
    #[must_use]
    pub fn has_footer(&self) -> bool {
        self.has_footer
    }

    /// What is worth a jump, in order.
    #[must_use]
    pub fn landmarks(&self) -> &[Landmark] {
        &self.landmarks
    }

    /// The latest time of the events up to this one, monotonic clock; of one
    /// beyond the last, of all.
    #[must_use]
    pub fn time(&self, event: usize) -> u64 {
        self.entries
            .get(event)
            .or(self.entries.last())
            .map_or(0, |entry| entry.latest_ns)
    }

    /// Number of the first event after `mono_ns`. `None`: it may be one that was
    /// not read yet.
    #[must_use]
    pub fn first_after(&self, mono_ns: u64) -> Option<usize> {
        let first = self
            .entries
            .partition_point(|entry| entry.latest_ns <= mono_ns);
        (first < self.entries.len() || self.is_complete()).then_some(first)
    }

    /// Reads an event; `None`: it cannot be read, or is of a later version.
    pub fn read(&mut self, event: usize) -> io::Result<Option<Event>> {
        Ok(self.line(event)?.and_then(parse))
    }

    /// The same, and `None` for what an engine derives again.
    pub fn read_fact(&mut self, event: usize) -> io::Result<Option<Event>> {
        Ok(self.line(event)?.and_then(parse_fact))
    }

    /// Events from here on whose lines are close together, to be read at once.
    /// `None`: the next one is to be read by itself.
    pub(super) fn batch(&self, from: usize) -> Option<LineBatch> {
        let entries = self.entries.get(from..)?;
        let first = entries.first()?.location;
        // Where a line ends is known from the one after it.
        let near = entries.partition_point(|entry| {
            let distance = entry.location.distance_from(first);
            distance.is_some_and(|distance| distance <= BLOCK)
        });
        let (last, entries) = entries.get(..near)?.split_last()?;
        if entries.is_empty() {
            return None;
        }
        let distance = |entry: &IndexEntry| entry.location.distance_from(first);
        self.store.batch(
            first,
            distance(last)?,
            entries.iter().filter_map(distance).collect(),
        )
    }

    fn line(&mut self, event: usize) -> io::Result<Option<&[u8]>> {
        match self.entries.get(event) {
            Some(entry) => self.store.line(entry.location),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::MAX_LINE;
    use super::*;

    fn index(text: &str) -> Index {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        std::fs::write(&path, text).unwrap();
        let mut index = Index::default();
        index.add(&path).unwrap();
        index
    }

    fn tick(seq: u64) -> String {
        format!(
            "{{\"event\":\"tick\",\"seq\":{seq},\"ts\":\"2026-11-21T10:00:00.000000000Z\",\"mono_ns\":{}}}\n",
            seq * 10
        )
    }

    #[test]
    fn every_event_is_found_again_in_any_order() {
        let text: String = (0..20_000).map(tick).collect();
        let mut index = index(&text);

        assert_eq!((index.len(), index.bad_lines()), (20_000, 0));
        for event in [0, 19_999, 7, 12_345, 12_346, 3] {
            let read = index.read(event).unwrap().unwrap();
            assert_eq!(read.seq, event as u64);
            assert_eq!(index.time(event), read.mono_ns);
        }
        assert!(index.read(20_000).unwrap().is_none());
        assert_eq!(index.first_after(55), Some(6));
        assert_eq!(index.first_after(u64::MAX), Some(20_000));
    }

    #[test]
    fn what_was_found_in_pieces_is_what_is_found_at_once() {
        let text: String = (0..5_000).map(tick).collect();
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("r.jsonl");
        std::fs::write(&plain, &text).unwrap();
        let packed = dir.path().join("r.jsonl.zst");
        std::fs::write(&packed, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        for path in [plain, packed] {
            let mut index = Index::default();
            index.enqueue(&path).unwrap();
            let (mut pieces, mut percent) = (0, 0);

            while index.advance(1_000).unwrap() {
                pieces += 1;
                assert!((percent..100).contains(&index.percent()));
                percent = index.percent();
                assert_eq!(index.reading(), Some(&*path));
                let last = index.len() - 1;
                let read = index.read(last).unwrap().unwrap();
                assert_eq!(read.mono_ns, index.time(last));
                // A later event may be within the same time.
                assert_eq!(index.first_after(read.mono_ns), None);
                assert_eq!(index.first_after(read.mono_ns - 1), Some(last));
            }

            assert!(pieces > 100, "{pieces}");
            assert_eq!((index.len(), index.percent()), (5_000, 100));
            assert_eq!(index.read(4_999).unwrap().unwrap().seq, 4_999);
        }
    }

    #[test]
    fn events_out_of_the_order_of_time_are_found_at_the_latest_time_so_far() {
        let text: String = [0, 5, 3, 9, 4].map(tick).concat();
        let index = index(&text);

        let times: Vec<u64> = (0..5).map(|event| index.time(event)).collect();

        assert_eq!(times, [0, 50, 50, 90, 90]);
        assert_eq!(index.first_after(50), Some(3));
    }

    #[test]
    fn what_an_engine_derives_again_is_passed_over() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let kept = [
            "data/report/restart.jsonl",
            "traces/client_closes_first.jsonl",
        ];
        let mut passed_over = 0;
        for file in kept {
            let mut index = Index::default();
            index.add(&folder.join(file)).unwrap();
            for event in 0..index.len() {
                let read = index.read(event).unwrap().unwrap();
                let fact = index.read_fact(event).unwrap();

                assert_eq!(fact.is_none(), read.body.is_derived(), "{file} {event}");
                passed_over += usize::from(fact.is_none());
            }
        }
        assert!(passed_over > 0);
    }

    #[test]
    fn odd_lines_are_counted_and_have_no_entry() {
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!(
            "{}garbage\n\n{long}\n{{\"mono_ns\":5,\"seq\":1,\"event\":\"diagnosis\"}}\n{}{{\"event\":\"tick\",\"seq\":3",
            tick(0),
            tick(2)
        );
        let mut index = index(&text);

        assert_eq!(index.len(), 3);
        assert_eq!(index.bad_lines(), 3);
        assert_eq!(
            index.landmarks(),
            [Landmark {
                event: 1,
                kind: LandmarkKind::Failure
            }]
        );
        assert_eq!(index.time(1), 5);
        assert!(index.read(1).unwrap().is_none(), "it lacks its fields");
        assert_eq!(index.read(2).unwrap().unwrap().seq, 2);
    }
}
