//! Opens a recording, compressed or not: its first bytes decide.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::path::Path;

use zstd::stream::read::Decoder;

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
    let (begin, is_zstd) = look_into(&mut input)?;
    let whole = io::Cursor::new(begin).chain(input);
    Ok(if is_zstd {
        Box::new(unpacked(whole)?)
    } else {
        Box::new(BufReader::with_capacity(BUFFER, whole))
    })
}

/// Opens the recording as a file in which one can go anywhere, with a reader of
/// it. `None`: it unpacks to more than `limit` bytes.
pub(super) fn open_seekable(
    path: &Path,
    limit: u64,
) -> io::Result<Option<(File, BufReader<File>)>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(
            "one cannot go about in what is not a file; read it with --format text",
        ));
    }
    let (_, is_zstd) = look_into(&mut file)?;
    file.rewind()?;
    if is_zstd {
        match super::index::unpack(unpacked(file)?, limit)? {
            Some(unpacked) => file = unpacked,
            None => return Ok(None),
        }
    }
    file.rewind()?;
    let text = BufReader::with_capacity(BUFFER, file.try_clone()?);
    Ok(Some((file, text)))
}

/// The first bytes, and whether they begin a compressed recording.
fn look_into(input: &mut impl Read) -> io::Result<(Vec<u8>, bool)> {
    let mut begin = Vec::with_capacity(ZSTD_MAGIC.len());
    input
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    let is_zstd = begin == ZSTD_MAGIC;
    Ok((begin, is_zstd))
}

fn unpacked(packed: impl Read) -> io::Result<impl BufRead> {
    let mut decoder = Decoder::new(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(BufReader::with_capacity(BUFFER, decoder))
}
