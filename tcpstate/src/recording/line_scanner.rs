//! Scans a file line by line, for as many bytes as the caller allows: a line may be
//! longer than that.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Seek as _};

use memchr::memchr;

use super::reader::MAX_LINE;

/// A file that is being read.
pub(super) struct LineScanner {
    text: Box<dyn BufRead>,
    /// The file that `text` comes from: its offset is how far that was read.
    source: File,
    line: Vec<u8>,
    /// Bytes of the line, also of those that were dropped.
    length: u64,
    /// Where it begins.
    offset: u64,
    /// Its number, from 1.
    number: u64,
}

/// A line of the file.
#[derive(Debug)]
pub(super) struct ScannedLine {
    /// Its bytes with its end; none where it is longer than [`MAX_LINE`].
    pub(super) line: Vec<u8>,
    pub(super) is_too_long: bool,
    /// Where it begins.
    pub(super) offset: u64,
    /// Its number, from 1.
    pub(super) number: u64,
}

/// What a step of the scan led to.
#[derive(Debug)]
pub(super) enum ScanStep {
    /// A line.
    Line(ScannedLine),
    /// The budget is spent, the file is not over.
    BudgetSpent,
    /// The file is over.
    End,
}

impl LineScanner {
    pub(super) fn new(text: Box<dyn BufRead>, source: File) -> Self {
        Self {
            text,
            source,
            line: Vec::new(),
            length: 0,
            offset: 0,
            number: 1,
        }
    }

    /// Goes on to the end of the line, for at most what is left of the budget.
    pub(super) fn next(&mut self, budget: &mut u64) -> io::Result<ScanStep> {
        while *budget > 0 {
            let chunk = match self.text.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr(b'\n', chunk);
            let taken = end.map_or(chunk.len(), |at| at + 1);
            self.length += taken as u64;
            if is_too_long(self.length) {
                self.line.clear();
            } else {
                self.line.extend_from_slice(&chunk[..taken]);
            }
            self.text.consume(taken);
            *budget = budget.saturating_sub(taken as u64);
            if taken == 0 && self.length == 0 {
                return Ok(ScanStep::End);
            }
            if taken == 0 || end.is_some() {
                return Ok(ScanStep::Line(self.take()));
            }
        }
        Ok(ScanStep::BudgetSpent)
    }

    fn take(&mut self) -> ScannedLine {
        let found = ScannedLine {
            is_too_long: is_too_long(self.length),
            line: std::mem::take(&mut self.line),
            offset: self.offset,
            number: self.number,
        };
        self.offset += self.length;
        self.length = 0;
        self.number += 1;
        found
    }

    /// The next line may have this one's memory.
    pub(super) fn reuse(&mut self, found: ScannedLine) {
        if self.line.is_empty() {
            self.line = found.line;
            self.line.clear();
        }
    }

    /// Bytes of the file that were read, compressed if it is.
    pub(super) fn read_bytes(&self) -> u64 {
        (&self.source).stream_position().unwrap_or(0)
    }
}

fn is_too_long(length: u64) -> bool {
    length > MAX_LINE as u64
}

impl fmt::Debug for LineScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineScanner")
            .field("offset", &self.offset)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_whatever_the_size_of_the_pieces() {
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!("one\n\n{long}\nfour");
        for size in [1 << 20, 100_000, 3] {
            let text = io::BufReader::with_capacity(50_000, io::Cursor::new(text.clone()));
            let mut scanner = LineScanner::new(Box::new(text), tempfile::tempfile().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut budget = size;
                match scanner.next(&mut budget).unwrap() {
                    ScanStep::Line(found) => {
                        assert_eq!(found.line.is_empty(), found.is_too_long);
                        lines.push((found.offset, found.number, found.is_too_long));
                        scanner.reuse(found);
                    }
                    ScanStep::BudgetSpent => {}
                    ScanStep::End => break,
                }
            }
            let behind = 5 + MAX_LINE as u64 + 11;
            assert_eq!(
                lines,
                [
                    (0, 1, false),
                    (4, 2, false),
                    (5, 3, true),
                    (behind, 4, false)
                ]
            );
        }
    }
}
