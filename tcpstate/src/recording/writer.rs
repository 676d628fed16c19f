//! Writes the event lines to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use thiserror::Error;

/// Bytes that are gathered before they are written.
const BATCH: usize = 256 * 1024;

/// A recording could not be written.
#[derive(Debug, Error)]
#[error("cannot write the recording {path}: {source}; choose another file with --record")]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

/// A file of event lines.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    batch: BytesMut,
    unwritten_lines: u64,
    batched_lines: u64,
}

impl Writer {
    /// Creates the file, or empties it. It is readable for its owner alone, and
    /// the owner is who called `sudo`, since command lines may hold secrets.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| RecordError {
                path: path.to_owned(),
                source,
            })?;
        if let Some((uid, gid)) = invoking_user()
            && file.metadata().is_ok_and(|metadata| metadata.is_file())
        {
            // Not being able to hand the file over loses nothing.
            let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            batch: BytesMut::with_capacity(BATCH),
            unwritten_lines: 0,
            batched_lines: 0,
        })
    }

    /// Appends one line, which ends in a line break.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), RecordError> {
        self.batch.extend_from_slice(line);
        self.batched_lines += 1;
        if self.batch.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what was gathered. What cannot be written is counted and let go,
    /// so that a full disk does not grow into full memory.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let result = self.file.write_all(&self.batch);
        self.batch.clear();
        let lines = std::mem::take(&mut self.batched_lines);
        result.map_err(|source| {
            self.unwritten_lines += lines;
            RecordError {
                path: self.path.clone(),
                source,
            }
        })
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn unwritten_lines(&self) -> u64 {
        self.unwritten_lines
    }
}

fn invoking_user() -> Option<(u32, u32)> {
    let id = |name| std::env::var(name).ok()?.parse().ok();
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}
