//! Where events are written: stdout as text or JSON, and a recording.

use std::io::{self, Write};

use thiserror::Error;

use crate::event::Event;
use crate::export::describe::Context;
use crate::export::fold::Folding;
use crate::export::json::Lines;
use crate::recording::writer::{RecordError, Writer};

/// Bytes for stdout that are gathered before they are written.
const GATHERED: usize = 1 << 16;

/// Events could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// Whoever read our output has gone: a clean end.
    #[error("the reader of the output has gone")]
    BrokenPipe,
    /// Stdout cannot be written.
    #[error("cannot write to the standard output: {0}")]
    Stdout(#[source] io::Error),
}

/// What stdout gets.
pub enum Stdout {
    /// Nothing: the dashboard has the terminal.
    None,
    /// A line per event in words.
    Text(Box<dyn Write>),
    /// A line per event in JSON.
    Json(Box<dyn Write>),
}

/// Where events are written.
pub struct Outputs {
    stdout: Stdout,
    recording: Option<Writer>,
    recording_error: Option<RecordError>,
    /// Of a recording that has ended.
    unwritten_lines: u64,
    lines: Lines,
    line: Vec<u8>,
    text: String,
    folding: Folding,
    /// For stdout; what is in here is not written yet.
    gathered: Vec<u8>,
    /// Nobody read stdout when the end had come: nothing more is written to it.
    is_given_up: bool,
    unread_lines: u64,
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outputs")
            .field("recording", &self.recording)
            .finish_non_exhaustive()
    }
}

impl Outputs {
    /// Writes to these.
    #[must_use]
    pub fn new(stdout: Stdout, recording: Option<Writer>) -> Self {
        Self {
            stdout,
            recording,
            recording_error: None,
            unwritten_lines: 0,
            lines: Lines::default(),
            line: Vec::new(),
            text: String::new(),
            folding: Folding::default(),
            gathered: Vec::new(),
            is_given_up: false,
            unread_lines: 0,
        }
    }

    pub(super) fn write(
        &mut self,
        event: &Event,
        context: &Context<'_>,
    ) -> Result<(), OutputError> {
        self.line.clear();
        if self.recording.is_some() || matches!(self.stdout, Stdout::Json(_)) {
            self.lines
                .write(event, context.clock, &mut self.line)
                .map_err(|error| OutputError::Stdout(error.into()))?;
        }
        if let Some(recording) = &mut self.recording
            && let Err(error) = recording.write_line(event.mono_ns, &self.line)
        {
            self.recording_error.get_or_insert(error);
        }
        match &self.stdout {
            Stdout::None => {}
            Stdout::Json(_) => self.gathered.extend_from_slice(&self.line),
            Stdout::Text(_) => {
                self.text.clear();
                self.folding.write_event(event, context, &mut self.text);
                self.gathered.extend_from_slice(self.text.as_bytes());
            }
        }
        if self.gathered.len() >= GATHERED {
            self.flush()?;
        }
        Ok(())
    }

    /// A line of prose between the events; text output only.
    pub fn remark(&mut self, remark: &str) -> Result<(), OutputError> {
        if matches!(self.stdout, Stdout::Text(_)) {
            self.gathered.extend_from_slice(remark.as_bytes());
            self.gathered.push(b'\n');
            self.flush()?;
        }
        Ok(())
    }

    /// The recording first: whatever kills us then, what was written is recorded.
    pub(super) fn flush(&mut self) -> Result<(), OutputError> {
        if let Some(Err(error)) = self.recording.as_mut().map(Writer::flush) {
            self.recording_error.get_or_insert(error);
        }
        let (Stdout::Text(out) | Stdout::Json(out)) = &mut self.stdout else {
            return Ok(());
        };
        let written = if self.is_given_up {
            Err((0, io::ErrorKind::TimedOut.into()))
        } else {
            write_all(out, &self.gathered)
        };
        let result = match written {
            Ok(()) => Ok(()),
            Err((written, error)) if error.kind() == io::ErrorKind::TimedOut => {
                self.is_given_up = true;
                let unread = self.gathered[written..]
                    .iter()
                    .filter(|byte| **byte == b'\n');
                self.unread_lines += unread.count() as u64;
                Ok(())
            }
            Err((_, error)) => Err(stdout_error(error)),
        };
        self.gathered.clear();
        result
    }

    /// Between two events, of which `next_seq` is the next one: lets the
    /// recording see to its files.
    pub(super) fn settle_recording(&mut self, mono_ns: u64, next_seq: u64) {
        if let Some(recording) = &mut self.recording
            && let Err(error) = recording.settle(mono_ns, next_seq)
        {
            self.recording_error.get_or_insert(error);
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), OutputError> {
        let flushed = self.flush();
        if let Some(recording) = self.recording.take() {
            let (result, unwritten_lines) = recording.finish();
            self.unwritten_lines = unwritten_lines;
            if let Err(error) = result {
                self.recording_error.get_or_insert(error);
            }
        }
        flushed
    }

    /// The recording's first error, once.
    pub fn take_recording_error(&mut self) -> Option<RecordError> {
        self.recording_error.take()
    }

    /// Lines that stdout lacks because nobody read it when the end had come.
    #[must_use]
    pub fn unread_lines(&self) -> u64 {
        self.unread_lines
    }

    /// Lines that the recording lacks.
    #[must_use]
    pub fn unrecorded_lines(&self) -> u64 {
        self.recording
            .as_ref()
            .map_or(self.unwritten_lines, Writer::unwritten_lines)
    }
}

/// An error comes with how many bytes were written.
fn write_all(out: &mut dyn Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    out.flush().map_err(|error| (written, error))
}

fn stdout_error(error: io::Error) -> OutputError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        OutputError::BrokenPipe
    } else {
        OutputError::Stdout(error)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::event::{Body, Tick};
    use crate::recording::parts::Rotation;

    const ANCHOR: crate::event::ClockAnchor = crate::event::ClockAnchor {
        mono_ns: 0,
        realtime: 0,
    };

    /// Looks into the recording whenever something is written.
    struct Written {
        bytes: Vec<u8>,
        recording: PathBuf,
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes.extend_from_slice(bytes);
            let recorded = fs::read(&self.recording)?;
            assert!(recorded.starts_with(&self.bytes), "told and not recorded");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_told_was_recorded_before() {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("r.jsonl");
        let written = Written {
            bytes: Vec::new(),
            recording: recording.clone(),
        };
        let writer = Writer::create(&recording, Rotation::default()).unwrap();
        let mut outputs = Outputs::new(Stdout::Json(Box::new(written)), Some(writer));

        for seq in 0..5_000 {
            let event = Event {
                seq,
                mono_ns: seq,
                body: Body::Tick(Tick {}),
            };
            let context = Context {
                clock: ANCHOR,
                ..Context::default()
            };
            outputs.write(&event, &context).unwrap();
            if seq % 1_700 == 5 {
                outputs.flush().unwrap();
            }
        }
        outputs.finish().unwrap();

        let lines = fs::read_to_string(&recording).unwrap().lines().count();
        assert_eq!(lines, 5_000);
        assert!(outputs.take_recording_error().is_none());
    }
}
