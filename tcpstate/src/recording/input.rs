//! Opens a recording, compressed or not: its first bytes decide.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::path::Path;

use zstd::stream::read::Decoder;

use super::spool::{self, SpoolingReader};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest window of a frame, as a power of two: 8 MiB, as our own level needs
/// at most. A frame that asks for more is refused, not served.
const MAX_WINDOW_LOG: u32 = 23;

/// Opens the recording: a file, or a pipe.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    of(File::open(path)?)
}

/// The lines of a recording, wherever it comes from.
pub fn of(mut input: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let (begin, is_zstd) = peek_magic(&mut input)?;
    let whole = io::Cursor::new(begin).chain(input);
    Ok(if is_zstd {
        Box::new(unpacked(whole)?)
    } else {
        Box::new(BufReader::with_capacity(BUFFER, whole))
    })
}

/// A recording in which one can seek.
pub(super) struct Seekable {
    /// What was read of it so far, uncompressed.
    pub(super) store: File,
    /// Its lines; what was read of them is in `store`.
    pub(super) text: Box<dyn BufRead>,
    /// The file as it is: it moves on with `text`.
    pub(super) source: File,
}

/// Opens the recording to seek in it. A compressed one is decompressed as it is
/// read; more than `limit` bytes are an error of the kind `FileTooLarge`.
pub(super) fn open_seekable(path: &Path, limit: u64) -> io::Result<Seekable> {
    let mut file = File::open(path)?;
    let (_, is_zstd) = peek_magic(&mut file)?;
    file.rewind()?;
    let source = file.try_clone()?;
    if is_zstd {
        let store = spool::spool_file()?;
        let reader = SpoolingReader::new(decoder(file)?, store.try_clone()?, limit);
        return Ok(Seekable {
            store,
            text: Box::new(BufReader::with_capacity(BUFFER, reader)),
            source,
        });
    }
    Ok(Seekable {
        store: file.try_clone()?,
        text: Box::new(BufReader::with_capacity(BUFFER, file)),
        source,
    })
}

/// Bytes of the file; an error: one cannot seek in it.
pub(super) fn seekable_size(path: &Path) -> io::Result<u64> {
    let meta = File::open(path)?.metadata()?;
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !meta.is_file() {
        return Err(io::Error::other(
            "one cannot go about in what is not a file; read it with --format text",
        ));
    }
    Ok(meta.len())
}

/// The first bytes, and whether they begin a compressed recording.
fn peek_magic(input: &mut impl Read) -> io::Result<(Vec<u8>, bool)> {
    let mut begin = Vec::with_capacity(ZSTD_MAGIC.len());
    input
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    let is_zstd = begin == ZSTD_MAGIC;
    Ok((begin, is_zstd))
}

fn unpacked(packed: impl Read) -> io::Result<impl BufRead> {
    Ok(BufReader::with_capacity(BUFFER, decoder(packed)?))
}

fn decoder<R: Read>(packed: R) -> io::Result<Decoder<'static, BufReader<R>>> {
    let mut decoder = Decoder::new(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}
