//! Reads the event lines of a recording.

use std::io::{self, BufRead};

use thiserror::Error;

use crate::event::Event;
use crate::export::json;

/// Longest line that is read; the longest that is written has a few kilobytes.
pub const MAX_LINE: usize = 1 << 20;

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
        }
    }

    /// Fills the buffer with one line without its end. `false`: the file is over.
    fn next_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        self.line += 1;
        let line = self.line;
        let mut is_too_long = false;
        loop {
            let chunk = self
                .input
                .fill_buf()
                .map_err(|source| ReadError::Io { line, source })?;
            if chunk.is_empty() {
                self.is_done = true;
                return if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(ReadError::Cut { line })
                };
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
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

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            match self.next_line() {
                Ok(false) => return None,
                Err(error) => {
                    self.is_done |= matches!(error, ReadError::Io { .. });
                    return Some(Err(error));
                }
                Ok(true) if self.buffer.iter().all(u8::is_ascii_whitespace) => {}
                Ok(true) => match json::read_line(&self.buffer) {
                    Ok(Some(event)) => return Some(Ok(event)),
                    Ok(None) => {}
                    Err(source) => {
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
    fn a_bad_line_is_named_and_the_next_one_is_read() {
        let long = "x".repeat(MAX_LINE + 1);
        let text = format!("nonsense\n{long}\n\n{{\"event\":\"tick\",\"seq\":0,\"mono_ns\":5}}\n");

        let events: Vec<_> = Reader::new(text.as_bytes()).collect();

        assert!(matches!(events[0], Err(ReadError::Parse { line: 1, .. })));
        assert!(matches!(events[1], Err(ReadError::TooLong { line: 2 })));
        assert!(events[2].is_ok());
    }
}
