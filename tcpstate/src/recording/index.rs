//! Where each event of a recording is, so that one can go to any of them
//! without reading the rest.

use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memchr;
use serde::Deserialize;
use thiserror::Error;

use super::input;
use super::reader::MAX_LINE;
use crate::event::{Body, Event};
use crate::export::json;

/// Events that an index takes: 16 bytes each.
pub const MAX_EVENTS: usize = 32 << 20;
/// Bytes that a compressed recording may unpack to: they go to a file without a
/// name in the temporary directory.
pub const MAX_UNPACKED: u64 = 8 << 30;
/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// A recording could not be indexed.
#[derive(Debug, Error)]
pub enum IndexError {
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It has more events than an index takes.
    #[error("it has more than {MAX_EVENTS} events; read it with --format text")]
    TooManyEvents,
    /// It unpacks to more than is kept.
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

/// One event's place.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// File number in the highest 16 bits, offset in the others.
    place: u64,
    mono_ns: u64,
}

const OFFSET_BITS: u32 = 48;

/// What was found while indexing that is worth a jump: the event's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landmark {
    /// The diagnosis of a failed call.
    Failure(usize),
    /// A restart.
    Restart(usize),
}

/// The places of all events of a recording, in one file or several.
#[derive(Debug, Default)]
pub struct Index {
    files: Vec<File>,
    lines: Vec<Line>,
    landmarks: Vec<Landmark>,
    bad_lines: u64,
    has_footer: bool,
    block: Block,
}

#[derive(Debug, Default)]
struct Block {
    place: u64,
    bytes: Vec<u8>,
}

impl Index {
    /// Indexes one more file, which goes on where the last one ended.
    pub fn add(&mut self, path: &Path) -> Result<(), IndexError> {
        let (file, text) = input::open_seekable(path, MAX_UNPACKED)?.ok_or(IndexError::TooLarge)?;
        let number = self.files.len() as u64;
        self.files.push(file);
        self.scan(text, number << OFFSET_BITS)
    }

    fn scan(&mut self, mut input: impl BufRead, mut place: u64) -> Result<(), IndexError> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = read_line(&mut input, &mut line)?;
            if read == 0 {
                break;
            }
            match head(&line) {
                Some((name, mono_ns)) => {
                    // Of later parts the header says nothing new.
                    if name == "header" && !self.lines.is_empty() {
                        self.check_part(&line, number)?;
                        place += read;
                        continue;
                    }
                    self.has_footer = name == "footer";
                    match name {
                        "diagnosis" => self.landmarks.push(Landmark::Failure(self.lines.len())),
                        "restart" => self.landmarks.push(Landmark::Restart(self.lines.len())),
                        _ => {}
                    }
                    if self.lines.len() >= MAX_EVENTS {
                        return Err(IndexError::TooManyEvents);
                    }
                    self.lines.push(Line { place, mono_ns });
                }
                None if line.iter().all(u8::is_ascii_whitespace) => {}
                None => self.bad_lines += 1,
            }
            place += read;
        }
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
        let last = self.read(self.lines.len() - 1)?;
        if last.is_some_and(|last| last.seq != seq) {
            return Err(IndexError::OutOfOrder { line: number });
        }
        Ok(())
    }

    /// Events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// No event at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lines that are no events.
    #[must_use]
    pub fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Whether the recording ends as one does that nobody cut.
    #[must_use]
    pub fn has_footer(&self) -> bool {
        self.has_footer
    }

    /// What is worth a jump, in order.
    #[must_use]
    pub fn landmarks(&self) -> &[Landmark] {
        &self.landmarks
    }

    /// When the event was, monotonic clock; of one beyond the last, when that was.
    #[must_use]
    pub fn time(&self, event: usize) -> u64 {
        self.lines
            .get(event)
            .or(self.lines.last())
            .map_or(0, |line| line.mono_ns)
    }

    /// Number of the first event after `mono_ns`. Events need not be in the
    /// order of time; those that came before a later one count as before.
    #[must_use]
    pub fn first_after(&self, mono_ns: u64) -> usize {
        self.lines.partition_point(|line| line.mono_ns <= mono_ns)
    }

    /// Reads an event; `None`: it cannot be read, or is of a later version.
    pub fn read(&mut self, event: usize) -> io::Result<Option<Event>> {
        let Some(line) = self.lines.get(event) else {
            return Ok(None);
        };
        let place = line.place;
        if let Some(text) = self.block.line_at(place) {
            return Ok(parse(text));
        }
        // A block that begins with the line: what follows is wanted next.
        let mut size = BLOCK;
        loop {
            self.fill(place, size)?;
            if let Some(text) = self.block.line_at(place) {
                return Ok(parse(text));
            }
            if self.block.bytes.len() < size || size > MAX_LINE {
                // The last line has no end; a line this long was not indexed.
                return Ok(parse(&self.block.bytes));
            }
            size *= 2;
        }
    }

    fn fill(&mut self, place: u64, size: usize) -> io::Result<()> {
        let number = usize::try_from(place >> OFFSET_BITS).unwrap_or(usize::MAX);
        let offset = place & ((1 << OFFSET_BITS) - 1);
        let Some(file) = self.files.get(number) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let bytes = &mut self.block.bytes;
        bytes.resize(size, 0);
        let mut filled = 0;
        while filled < size {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        self.block.place = place;
        Ok(())
    }
}

impl Block {
    /// The whole line at this place.
    fn line_at(&self, place: u64) -> Option<&[u8]> {
        let from = usize::try_from(place.checked_sub(self.place)?).ok()?;
        let rest = self.bytes.get(from..)?;
        let end = memchr(b'\n', rest)?;
        rest.get(..end)
    }
}

fn parse(line: &[u8]) -> Option<Event> {
    json::read_line(line).ok().and_then(|(_, event)| event)
}

/// Reads a line with its end; of one that is too long only the beginning is
/// kept. How many bytes it had; 0: the file is over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut read = 0;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            // A compressed recording that was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(read),
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(read);
        }
        let end = memchr(b'\n', chunk);
        let taken = end.map_or(chunk.len(), |at| at + 1);
        if line.len() + taken <= MAX_LINE {
            line.extend_from_slice(&chunk[..taken]);
        }
        input.consume(taken);
        read += taken as u64;
        if end.is_some() {
            return Ok(read);
        }
    }
}

/// Name and time of an event, without reading all of it where the line is as
/// this program writes it.
fn head(line: &[u8]) -> Option<(&str, u64)> {
    as_written(line).or_else(|| {
        #[derive(Deserialize)]
        struct Head<'a> {
            event: &'a str,
            mono_ns: u64,
        }
        let head: Head<'_> = serde_json::from_slice(line).ok()?;
        Some((head.event, head.mono_ns))
    })
}

fn as_written(line: &[u8]) -> Option<(&str, u64)> {
    // A line without its end was cut.
    let line = line.strip_suffix(b"}\n")?;
    let rest = line.strip_prefix(b"{\"event\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let name = std::str::from_utf8(&rest[..end]).ok()?;
    // Position and calendar time come between.
    let key = b"\"mono_ns\":";
    let head = rest.get(end..rest.len().min(end + 120))?;
    let at = head.windows(key.len()).position(|window| window == key)?;
    let digits = &rest[end + at + key.len()..];
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if !matches!(digits.get(length), Some(b',') | None) {
        return None;
    }
    let mono_ns = std::str::from_utf8(&digits[..length]).ok()?.parse().ok()?;
    Some((name, mono_ns))
}

/// Unpacks into a file without a name; `None`: it is more than `limit`.
pub(super) fn unpack(mut packed: impl BufRead, limit: u64) -> io::Result<Option<File>> {
    let mut file = roomy_file()?;
    let mut size = 0_u64;
    loop {
        let chunk = match packed.fill_buf() {
            Ok(chunk) => chunk,
            // Cut, or damaged further on: what is there is shown.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || size > 0 => break,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len();
        size += length as u64;
        if size > limit {
            return Ok(None);
        }
        file.write_all(chunk)?;
        packed.consume(length);
    }
    Ok(Some(file))
}

/// A file without a name where there is most room: `/tmp` is memory on many
/// machines, `/var/tmp` never.
fn roomy_file() -> io::Result<File> {
    if std::env::var_os("TMPDIR").is_none()
        && let Ok(file) = tempfile::tempfile_in("/var/tmp")
    {
        return Ok(file);
    }
    tempfile::tempfile()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(index.first_after(55), 6);
        assert_eq!(index.first_after(u64::MAX), 20_000);
    }

    #[test]
    fn odd_lines_are_counted_and_cost_no_place() {
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!(
            "{}garbage\n\n{long}\n{{\"mono_ns\":5,\"seq\":1,\"event\":\"diagnosis\"}}\n{}{{\"event\":\"tick\",\"seq\":3",
            tick(0),
            tick(2)
        );
        let mut index = index(&text);

        assert_eq!(index.len(), 3);
        assert_eq!(index.bad_lines(), 3);
        assert_eq!(index.landmarks(), [Landmark::Failure(1)]);
        assert_eq!(index.time(1), 5);
        assert!(index.read(1).unwrap().is_none(), "it lacks its fields");
        assert_eq!(index.read(2).unwrap().unwrap().seq, 2);
    }
}
