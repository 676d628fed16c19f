//! Reads the event lines of a recording.

use std::io::{self, BufRead};

use memchr::memchr;
use thiserror::Error;

use super::memory;
use crate::event::{Body, Event, SCHEMA_VERSION};
use crate::export::json;

/// Longest line that is read; the longest that is written has a few kilobytes.
pub const MAX_LINE: usize = 1 << 20;

/// Characters of a stranger's text that are shown.
const MAX_SHOWN: usize = 16;

/// A line could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read line {line}: {source}")]
    Io {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The line is not an event.
    #[error("line {line} is not an event: {source}")]
    Parse {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The line is too long.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong {
        /// Number of the line, from 1.
        line: u64,
    },
    /// The recording was made by a later version, whose events may mean
    /// something else.
    #[error(
        "line {line}: the recording has schema {schema}, and this program knows {SCHEMA_VERSION}; \
         read it with a later tcpstate"
    )]
    LaterSchema {
        /// Number of the line, from 1.
        line: u64,
        /// Its version.
        schema: String,
    },
    /// Positions are missing or come twice. The event of the line follows.
    #[error(
        "the lines before line {line} are not all there: it has position {seq}, {expected} was \
         due; what follows from the missing ones is not known"
    )]
    Gap {
        /// Number of the line, from 1.
        line: u64,
        /// Position of its event.
        seq: u64,
        /// Position that was due.
        expected: u64,
    },
    /// What it describes so far takes too much memory. Nothing follows.
    #[error(
        "what the recording describes up to line {line} takes more than {} of memory; what comes \
         after it is not read. tcpstate keeps a million sockets in a third of that, so it is not \
         a recording that it has made",
        bytesize::ByteSize(memory::MAX_MEMORY)
    )]
    TooMuch {
        /// Number of the line, from 1.
        line: u64,
    },
    /// The file ends in the middle of a line.
    #[error("the recording was cut in line {line}; everything before it was read")]
    Cut {
        /// Number of the line, from 1.
        line: u64,
    },
}

/// Reads events one by one. After an error the next line is tried.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    is_done: bool,
    expected_seq: Option<u64>,
    /// Read, and to be handed out after what is wrong with it.
    held: Option<Event>,
    memory: memory::MemoryLimit,
}

impl<R: BufRead> Reader<R> {
    /// Reads from here.
    #[must_use]
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: 0,
            buffer: Vec::new(),
            is_done: false,
            expected_seq: None,
            held: None,
            memory: memory::MemoryLimit::default(),
        }
    }

    /// Number of the line that was read last, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Fills the buffer with one line without its end. `false`: the file is over.
    fn next_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut is_too_long = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                // A compressed recording that was cut.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_done = true;
                    return Err(ReadError::Cut { line });
                }
                Err(source) => return Err(ReadError::Io { line, source }),
            };
            if chunk.is_empty() {
                self.is_done = true;
                return if self.buffer.is_empty() && !is_too_long {
                    Ok(false)
                } else {
                    Err(ReadError::Cut { line })
                };
            }
            let end = memchr(b'\n', chunk);
            let taken = end.map_or(chunk.len(), |at| at + 1);
            if self.buffer.len() + taken > MAX_LINE {
                is_too_long = true;
                self.buffer.clear();
            } else if !is_too_long {
                self.buffer
                    .extend_from_slice(&chunk[..end.unwrap_or(taken)]);
            }
            self.input.consume(taken);
            if end.is_some() {
                return if is_too_long {
                    Err(ReadError::TooLong { line })
                } else {
                    Ok(true)
                };
            }
        }
    }
}

impl<R> Reader<R> {
    /// What to hand out for a line that was read; `None`: nothing.
    fn check(&mut self, seq: u64, event: Option<Event>) -> Option<Result<Event, ReadError>> {
        let line = self.line;
        let next = seq.saturating_add(1);
        // Parts in one file: a later header has the position before its first event.
        if self.expected_seq == Some(next)
            && let Some(Body::Header(header)) = event.as_ref().map(|event| &event.body)
            && header.part.is_some()
            && header.schema == SCHEMA_VERSION
        {
            return event.map(Ok);
        }
        let expected = self.expected_seq.replace(next);
        if let Some(Body::Header(header)) = event.as_ref().map(|event| &event.body)
            && header.schema != SCHEMA_VERSION
        {
            self.is_done = true;
            return Some(Err(ReadError::LaterSchema {
                line,
                schema: header.schema.chars().take(MAX_SHOWN).collect(),
            }));
        }
        match expected {
            Some(expected) if expected != seq => {
                self.held = event;
                Some(Err(ReadError::Gap {
                    line,
                    seq,
                    expected,
                }))
            }
            _ => event.map(Ok),
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(event) = self.held.take() {
            return Some(Ok(event));
        }
        while !self.is_done {
            if !self.memory.allows(self.buffer.len()) {
                self.is_done = true;
                return Some(Err(ReadError::TooMuch { line: self.line }));
            }
            match self.next_line() {
                Ok(false) => return None,
                Err(error) => {
                    self.is_done |= matches!(error, ReadError::Io { .. });
                    return Some(Err(error));
                }
                Ok(true) if self.buffer.iter().all(u8::is_ascii_whitespace) => {}
                Ok(true) => match json::read_line(&self.buffer) {
                    Ok((seq, event)) => {
                        if let Some(item) = self.check(seq, event) {
                            return Some(item);
                        }
                    }
                    Err(source) => {
                        // Its position is not known: the next one is believed.
                        self.expected_seq = None;
                        return Some(Err(ReadError::Parse {
                            line: self.line,
                            source,
                        }));
                    }
                },
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_recording_is_read_to_its_last_whole_line() {
        let text = "{\"event\":\"tick\",\"seq\":0,\"ts\":\"\",\"mono_ns\":5}\n{\"event\":\"ti";

        let events: Vec<_> = Reader::new(text.as_bytes()).collect();

        assert_eq!(events.len(), 2);
        assert!(events[0].is_ok());
        assert_eq!(
            events[1].as_ref().unwrap_err().to_string(),
            "the recording was cut in line 2; everything before it was read"
        );
    }

    #[test]
    fn missing_lines_are_noticed_and_what_is_there_is_read() {
        let text = "{\"event\":\"tick\",\"seq\":4,\"mono_ns\":5}\n{\"event\":\"new\",\"seq\":5,\"mono_ns\":5}\n{\"event\":\"tick\",\"seq\":8,\"mono_ns\":5}\n";

        let events: Vec<_> = Reader::new(text.as_bytes()).collect();

        assert_eq!(events.len(), 3, "{events:?}");
        assert!(matches!(
            events[1],
            Err(ReadError::Gap {
                line: 3,
                seq: 8,
                expected: 6
            })
        ));
        assert!(events[2].as_ref().is_ok_and(|event| event.seq == 8));
    }

    #[test]
    fn a_bad_line_is_named_and_the_next_one_is_read() {
        let long = "x".repeat(MAX_LINE + 1);
        let text = format!("nonsense\n{long}\n\n{{\"event\":\"tick\",\"seq\":0,\"mono_ns\":5}}\n");

        let events: Vec<_> = Reader::new(text.as_bytes()).collect();

        assert!(matches!(events[0], Err(ReadError::Parse { line: 1, .. })));
        assert!(matches!(events[1], Err(ReadError::TooLong { line: 2 })));
        assert!(events[2].is_ok());
    }
}
