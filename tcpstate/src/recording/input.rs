//! Opens a recording, compressed or not: its first bytes decide.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::path::Path;

use zstd::stream::read::Decoder;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest window of a frame, as a power of two: 8 MiB, as our own level needs
/// at most. A frame that asks for more is refused, not served.
const MAX_WINDOW_LOG: u32 = 23;

/// Opens the recording.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = File::open(path)?;
    let mut begin = Vec::with_capacity(ZSTD_MAGIC.len());
    file.by_ref()
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    let is_zstd = begin == ZSTD_MAGIC;
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(begin).chain(file));
    if !is_zstd {
        return Ok(Box::new(whole));
    }
    let mut decoder = Decoder::with_buffer(whole)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)))
}
