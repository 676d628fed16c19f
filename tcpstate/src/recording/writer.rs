//! Writes the event lines to a file, or to one file after the other.

use std::io;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use thiserror::Error;

use super::parts::{self, Rotation};
use super::sink::Sink;

/// Bytes that are gathered before they are written.
const BATCH: usize = 256 * 1024;
/// How often a compressed file is made readable up to its last line, and it is checked
/// whether the file is still there.
const SYNC_EVERY_NS: u64 = 1_000_000_000;

/// A recording could not be written.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file could not be created.
    #[error("cannot write the recording {path}: {source}; choose another file with --record")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Lines could not be written.
    #[error("cannot write the recording {path}: {source}; make room")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody deleted the file.
    #[error("the recording {path} was deleted; it is begun anew under the same name")]
    Deleted {
        /// Which.
        path: PathBuf,
    },
    /// Somebody deleted the file, and perhaps its folder.
    #[error(
        "the recording {path} was deleted and cannot be begun anew: {source}; nothing is recorded until it can"
    )]
    Gone {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody deleted the file just before the end.
    #[error("the recording {path} was deleted")]
    Lost {
        /// Which.
        path: PathBuf,
    },
}

/// A recording that is being written.
pub struct Writer {
    /// As it was asked for; the first part.
    path: PathBuf,
    rotation: Rotation,
    sink: Sink,
    part: u32,
    part_began_ns: u64,
    settled_ns: u64,
    /// The first line, which every part begins with.
    header: Vec<u8>,
    batch: BytesMut,
    batched_lines: u64,
    /// In the current part.
    written_lines: u64,
    unwritten_lines: u64,
    /// It was reported that the file is gone and cannot be created again.
    is_loss_reported: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Creates the file, or empties it; compressed if its name ends in `.zst`.
    pub fn create(path: &Path, rotation: Rotation) -> Result<Self, RecordError> {
        let sink = Sink::create(path).map_err(|source| RecordError::Create {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            sink,
            part: 1,
            part_began_ns: 0,
            settled_ns: 0,
            header: Vec::new(),
            batch: BytesMut::with_capacity(BATCH),
            batched_lines: 0,
            written_lines: 0,
            unwritten_lines: 0,
            is_loss_reported: false,
        })
    }

    /// Appends one line, which ends in a line break, of an event at `mono_ns`.
    pub fn write_line(&mut self, mono_ns: u64, line: &[u8]) -> Result<(), RecordError> {
        if self.header.is_empty() {
            line.clone_into(&mut self.header);
            self.part_began_ns = mono_ns;
            self.settled_ns = mono_ns;
        }
        self.batch.extend_from_slice(line);
        self.batched_lines += 1;
        if self.batch.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was gathered. What cannot be written is counted and let go,
    /// so that a full disk does not grow into full memory.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let result = self.sink.write(&self.batch);
        self.batch.clear();
        let lines = std::mem::take(&mut self.batched_lines);
        match result {
            Ok(()) => self.written_lines += lines,
            Err(source) => {
                self.unwritten_lines += lines;
                return Err(self.failed(source));
            }
        }
        Ok(())
    }

    /// Once a second and between two lines: makes a compressed file readable up
    /// to here, begins the next part if it is time, notices a deleted file.
    pub fn settle(&mut self, mono_ns: u64, next_seq: u64) -> Result<(), RecordError> {
        if mono_ns < self.settled_ns.saturating_add(SYNC_EVERY_NS) || self.header.is_empty() {
            return Ok(());
        }
        self.settled_ns = mono_ns;
        self.flush()?;
        self.sink.flush().map_err(|source| self.failed(source))?;
        if self.sink.is_deleted() {
            return self.begin_anew(mono_ns, next_seq);
        }
        let age_ns = mono_ns.saturating_sub(self.part_began_ns);
        if self.rotation.is_due(self.sink.len(), age_ns) {
            self.part += 1;
            let path = self.part_path();
            self.begin(path, mono_ns, next_seq)?;
        }
        Ok(())
    }

    /// Ends the recording.
    pub fn finish(mut self) -> (Result<(), RecordError>, u64) {
        let flushed = self.flush();
        let path = self.part_path();
        if self.sink.is_deleted() {
            let lost = Err(RecordError::Lost { path });
            return (flushed.and(lost), self.unwritten_lines + self.written_lines);
        }
        let finished = self
            .sink
            .finish()
            .map_err(|source| RecordError::Write { path, source });
        (flushed.and(finished), self.unwritten_lines)
    }

    /// Goes on after somebody has deleted the file. What was in it is lost; where it
    /// cannot be created again, that is reported once and tried again.
    fn begin_anew(&mut self, mono_ns: u64, next_seq: u64) -> Result<(), RecordError> {
        self.unwritten_lines += std::mem::take(&mut self.written_lines);
        let path = self.part_path();
        match self.begin(path.clone(), mono_ns, next_seq) {
            Ok(()) => {
                self.is_loss_reported = false;
                Err(RecordError::Deleted { path })
            }
            Err(_) if self.is_loss_reported => Ok(()),
            Err(RecordError::Create { source, .. }) => {
                self.is_loss_reported = true;
                Err(RecordError::Gone { path, source })
            }
            Err(error) => Err(error),
        }
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn unwritten_lines(&self) -> u64 {
        self.unwritten_lines
    }

    /// Goes on in a new file, which begins with the header: with the position
    /// before the next event's, so that the file has no gap.
    fn begin(&mut self, path: PathBuf, mono_ns: u64, next_seq: u64) -> Result<(), RecordError> {
        let created = Sink::create(&path);
        let sink = created.map_err(|source| RecordError::Create { path, source })?;
        // The old part is whole: it was flushed.
        let _ = std::mem::replace(&mut self.sink, sink).finish();
        self.part_began_ns = mono_ns;
        self.written_lines = 0;
        let header = parts::header(&self.header, self.part, next_seq.saturating_sub(1));
        self.sink
            .write(&header)
            .map_err(|source| self.failed(source))?;
        if let Some(old) = self.rotation.superseded(&self.path, self.part) {
            // What is gone already need not go.
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    fn part_path(&self) -> PathBuf {
        parts::path(&self.path, self.part)
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::Write {
            path: self.part_path(),
            source,
        }
    }
}
