//! The line store: the bytes of a recording, in one file or several, and any line
//! of it by its location.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use memchr::memchr;

use super::line::parse_fact;
use super::reader::MAX_LINE;
use crate::event::Event;

/// Bytes that are read at once.
pub(super) const BLOCK: usize = 256 << 10;
/// A location has the file's number above these bits, and the offset in them.
const OFFSET_BITS: u32 = 48;

/// Where a line is. Locations have the order of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location(u64);

impl Location {
    /// Bytes from an earlier location to this one; files lie very far apart.
    pub(super) fn distance_from(self, earlier: Self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(earlier.0)?).ok()
    }

    fn file(self) -> Option<usize> {
        usize::try_from(self.0 >> OFFSET_BITS).ok()
    }

    fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }
}

/// The files, and what was read of them last.
#[derive(Debug, Default)]
pub(super) struct LineStore {
    files: Vec<Arc<File>>,
    block: Block,
}

#[derive(Debug, Default)]
struct Block {
    location: Location,
    bytes: Vec<u8>,
}

/// Lines of one file, close together: any thread can read them.
#[derive(Debug)]
pub(super) struct LineBatch {
    file: Arc<File>,
    offset: u64,
    size: usize,
    /// Where in it each line begins.
    begins: Vec<usize>,
}

impl LineStore {
    /// Adds a file after the others.
    pub(super) fn add(&mut self, file: File) {
        self.files.push(Arc::new(file));
    }

    /// The location of what is at this offset of the last file.
    pub(super) fn locate(&self, offset: u64) -> Location {
        Location((self.files.len().saturating_sub(1) as u64) << OFFSET_BITS | offset)
    }

    fn file(&self, location: Location) -> Option<&Arc<File>> {
        self.files.get(location.file()?)
    }

    /// So many bytes from here on, in which lines begin at `begins`.
    pub(super) fn batch(
        &self,
        location: Location,
        size: usize,
        begins: Vec<usize>,
    ) -> Option<LineBatch> {
        Some(LineBatch {
            file: Arc::clone(self.file(location)?),
            offset: location.offset(),
            size,
            begins,
        })
    }

    /// The line that begins here, without its end.
    pub(super) fn line(&mut self, location: Location) -> io::Result<Option<&[u8]>> {
        // A block that begins with the line: what follows is wanted next.
        let mut size = BLOCK;
        while self.block.end_of(location).is_none() {
            self.fill(location, size)?;
            if self.block.bytes.len() < size || size > MAX_LINE {
                // The last line has no end; a line this long was not indexed.
                break;
            }
            size *= 2;
        }
        let end = self.block.end_of(location);
        let from = location
            .distance_from(self.block.location)
            .unwrap_or(usize::MAX);
        let end = end.unwrap_or(self.block.bytes.len());
        Ok(self.block.bytes.get(from..end))
    }

    fn fill(&mut self, location: Location, size: usize) -> io::Result<()> {
        let Some(file) = self.file(location).map(Arc::clone) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let offset = location.offset();
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
        self.block.location = location;
        Ok(())
    }
}

impl Block {
    /// Where in it the line that begins here ends; `None`: not in it.
    fn end_of(&self, location: Location) -> Option<usize> {
        let from = location.distance_from(self.location)?;
        memchr(b'\n', self.bytes.get(from..)?).map(|length| from + length)
    }
}

impl LineBatch {
    /// Events in it.
    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// Reads them; `None` for one that an engine derives again, or that cannot be
    /// read. An error: the file is not what it was.
    pub(super) fn facts(&self) -> io::Result<Vec<Option<Event>>> {
        let mut bytes = vec![0; self.size];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        let lines = self.begins.iter().map(|begin| {
            let line = bytes.get(*begin..)?;
            parse_fact(line.get(..memchr(b'\n', line)?)?)
        });
        Ok(lines.collect())
    }
}
