//! The bytes of a recording, in one file or several: any line of it by its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use memchr::memchr;

use super::index::parse_fact;
use super::reader::MAX_LINE;
use crate::event::Event;

/// Bytes that are read at once.
pub(super) const BLOCK: usize = 256 << 10;
/// A place has the file's number above these bits, and the offset in them.
const OFFSET_BITS: u32 = 48;

/// The files, and what was read of them last.
#[derive(Debug, Default)]
pub(super) struct Kept {
    files: Vec<Arc<File>>,
    block: Block,
}

#[derive(Debug, Default)]
struct Block {
    place: u64,
    bytes: Vec<u8>,
}

/// Lines of one file, close together: they can be read anywhere, by anyone.
#[derive(Debug)]
pub(super) struct Run {
    file: Arc<File>,
    offset: u64,
    size: usize,
    /// Where in it each line begins.
    begins: Vec<usize>,
}

impl Kept {
    /// One more file, behind the others.
    pub(super) fn add(&mut self, file: File) {
        self.files.push(Arc::new(file));
    }

    /// The place of what is at this offset of the last file. Places have the order
    /// of the lines.
    pub(super) fn place(&self, offset: u64) -> u64 {
        (self.files.len().saturating_sub(1) as u64) << OFFSET_BITS | offset
    }

    fn file(&self, place: u64) -> Option<(&Arc<File>, u64)> {
        let number = usize::try_from(place >> OFFSET_BITS).ok()?;
        let offset = place & ((1 << OFFSET_BITS) - 1);
        Some((self.files.get(number)?, offset))
    }

    /// So many bytes from here on, in which lines begin at `begins`.
    pub(super) fn run(&self, place: u64, size: usize, begins: Vec<usize>) -> Option<Run> {
        let (file, offset) = self.file(place)?;
        Some(Run {
            file: Arc::clone(file),
            offset,
            size,
            begins,
        })
    }

    /// The line that begins here, without its end.
    pub(super) fn line(&mut self, place: u64) -> io::Result<Option<&[u8]>> {
        // A block that begins with the line: what follows is wanted next.
        let mut size = BLOCK;
        while self.block.end_of(place).is_none() {
            self.fill(place, size)?;
            if self.block.bytes.len() < size || size > MAX_LINE {
                // The last line has no end; a line this long was not indexed.
                break;
            }
            size *= 2;
        }
        let end = self.block.end_of(place);
        let from = usize::try_from(place - self.block.place).unwrap_or(usize::MAX);
        let end = end.unwrap_or(self.block.bytes.len());
        Ok(self.block.bytes.get(from..end))
    }

    fn fill(&mut self, place: u64, size: usize) -> io::Result<()> {
        let Some((file, offset)) = self.file(place) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let file = Arc::clone(file);
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
    /// Where in it the line that begins here ends; `None`: not in it.
    fn end_of(&self, place: u64) -> Option<usize> {
        let from = usize::try_from(place.checked_sub(self.place)?).ok()?;
        memchr(b'\n', self.bytes.get(from..)?).map(|length| from + length)
    }
}

impl Run {
    /// Events in it.
    pub(super) fn len(&self) -> usize {
        self.begins.len()
    }

    /// Reads them; `None` for one that an engine works out anew, or that cannot be
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
