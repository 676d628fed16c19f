//! What the server prints: kept as far as it is needed to say why it ended, and searched for
//! the line that says that it serves.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use regex_lite::Regex;

use crate::stdio::Stream;

/// Bytes of the end that are kept.
const KEPT: usize = 2 * 1024;
/// Bytes that the pattern is looked for in: the last ones, however long a line is.
const SEARCHED: usize = 64 * 1024;

/// What one start has printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Output(Arc<Mutex<Printed>>);

#[derive(Debug, Default)]
struct Printed {
    last: VecDeque<u8>,
    searched: Vec<u8>,
    is_found: bool,
}

/// The ends of the pipes that the server gets.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

impl Output {
    /// Reads both streams, each in a thread, until everybody has closed it. `is_shown`: it is
    /// passed on to stderr.
    pub(super) fn read(pattern: Option<&Regex>, is_shown: bool) -> Result<(Self, Ends)> {
        let output = Self::default();
        let mut ends = [pattern.cloned(), None].into_iter().map(|pattern| {
            let (reader, writer) = io::pipe()?;
            let output = output.clone();
            thread::Builder::new()
                .name("output".to_owned())
                .spawn(move || output.take_in(reader, pattern.as_ref(), is_shown))?;
            Ok::<_, io::Error>(Stdio::from(writer))
        });
        let mut next = || {
            let end = ends.next().unwrap_or_else(|| Ok(Stdio::null()));
            end.context("cannot read what the server prints")
        };
        let ends = Ends {
            stdout: next()?,
            stderr: next()?,
        };
        Ok((output, ends))
    }

    fn take_in(&self, mut reader: io::PipeReader, pattern: Option<&Regex>, is_shown: bool) {
        let mut buffer = [0; 4096];
        loop {
            let bytes = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if is_shown {
                let _ = Stream::brief_stderr().write_all(bytes);
            }
            self.lock().add(bytes, pattern);
        }
    }

    /// Whether the pattern was found on stdout.
    pub(super) fn is_found(&self) -> bool {
        self.lock().is_found
    }

    /// The last lines, at most this many, as one line of text.
    pub(super) fn last_lines(&self, count: usize) -> Option<String> {
        let mut printed = self.lock();
        let text = String::from_utf8_lossy(printed.last.make_contiguous()).into_owned();
        drop(printed);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let mut lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let from = lines.len().saturating_sub(count);
        let last = lines.split_off(from);
        (!last.is_empty()).then(|| last.join(" / "))
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Printed {
    fn add(&mut self, bytes: &[u8], pattern: Option<&Regex>) {
        self.last.extend(bytes);
        let surplus = self.last.len().saturating_sub(KEPT);
        self.last.drain(..surplus);
        let Some(pattern) = pattern.filter(|_| !self.is_found) else {
            return;
        };
        self.searched.extend(bytes);
        self.is_found = pattern.is_match(&String::from_utf8_lossy(&self.searched));
        let surplus = self.searched.len().saturating_sub(SEARCHED);
        self.searched.drain(..surplus);
        if self.is_found {
            self.searched = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_across_pieces_and_the_end_is_kept() {
        let pattern = Regex::new("listening on [0-9]+").unwrap();
        let output = Output::default();
        output.lock().add(&vec![b'x'; 100_000], Some(&pattern));
        output.lock().add(b"\nlisten", Some(&pattern));
        assert!(!output.is_found());
        output
            .lock()
            .add(b"ing on 80\nand\n\n more\n", Some(&pattern));

        assert!(output.is_found());
        assert_eq!(output.last_lines(2).as_deref(), Some("and / more"));
        assert!(output.lock().last.len() <= KEPT);
    }
}
