//! Opens a recording, compressed or not: its first bytes decide.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
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
    let (file, is_zstd) = open_file(path)?;
    Ok(if is_zstd {
        Box::new(unpacked(file)?)
    } else {
        Box::new(BufReader::with_capacity(BUFFER, file))
    })
}

/// Opens the recording as a file in which one can go anywhere, with a reader of
/// it. `None`: it unpacks to more than `limit` bytes.
pub(super) fn open_seekable(
    path: &Path,
    limit: u64,
) -> io::Result<Option<(File, BufReader<File>)>> {
    let (file, is_zstd) = open_file(path)?;
    let mut file = if is_zstd {
        match super::index::unpack(unpacked(file)?, limit)? {
            Some(file) => file,
            None => return Ok(None),
        }
    } else {
        file
    };
    file.rewind()?;
    let text = BufReader::with_capacity(BUFFER, file.try_clone()?);
    Ok(Some((file, text)))
}

/// The file at its beginning, and whether it is compressed. A pipe cannot be
/// looked into, and is not.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok((file, false));
    }
    let mut begin = Vec::with_capacity(ZSTD_MAGIC.len());
    file.by_ref()
        .take(ZSTD_MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    file.rewind()?;
    Ok((file, begin == ZSTD_MAGIC))
}

fn unpacked(file: File) -> io::Result<impl BufRead> {
    let mut decoder = Decoder::new(file)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(BufReader::with_capacity(BUFFER, decoder))
}
