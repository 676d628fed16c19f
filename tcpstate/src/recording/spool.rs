//! Spools what a compressed recording decompresses to into a file while it is read
//! for the first time, so that one can seek in it.

use std::fs::File;
use std::io::{self, Read, Write as _};

/// A reader that writes what it reads to a file as well.
pub(super) struct SpoolingReader<R> {
    compressed: R,
    spool: File,
    size: u64,
    limit: u64,
    is_over: bool,
}

impl<R: Read> SpoolingReader<R> {
    /// Spools at most `limit` bytes.
    pub(super) fn new(compressed: R, spool: File, limit: u64) -> Self {
        Self {
            compressed,
            spool,
            size: 0,
            limit,
            is_over: false,
        }
    }
}

impl<R: Read> Read for SpoolingReader<R> {
    /// More than the limit is an error of the kind `FileTooLarge`.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let read = match self.compressed.read(bytes) {
            Ok(read) => read,
            // Cut, or damaged further on: what is there is shown.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || self.size > 0 => 0,
            Err(error) => return Err(error),
        };
        self.is_over = read == 0;
        self.size += read as u64;
        if self.size > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.spool.write_all(&bytes[..read]).map_err(|error| {
            io::Error::other(format!(
                "unpacked, it has no room in the temporary directory ({error}); set TMPDIR to a \
                 larger one, or read it with --format text"
            ))
        })?;
        Ok(read)
    }
}

/// A file without a name where there is most room: `/tmp` is memory on many
/// machines, `/var/tmp` never.
pub(super) fn spool_file() -> io::Result<File> {
    if std::env::var_os("TMPDIR").is_none()
        && let Ok(file) = tempfile::tempfile_in("/var/tmp")
    {
        return Ok(file);
    }
    tempfile::tempfile()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn unpacked(packed: &[u8], limit: u64) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let mut kept = tempfile::tempfile().unwrap();
        let decoder = zstd::Decoder::new(packed).unwrap();
        let mut reader = SpoolingReader::new(decoder, kept.try_clone().unwrap(), limit);
        let mut read = Vec::new();
        let result = reader.read_to_end(&mut read).map(|_| read);
        let mut bytes = Vec::new();
        kept.rewind().unwrap();
        kept.read_to_end(&mut bytes).unwrap();
        (result, bytes)
    }

    #[test]
    fn what_is_read_is_kept_up_to_a_limit() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(&vec![7; 500_000]).unwrap();
        let packed = encoder.finish().unwrap();

        let (read, kept) = unpacked(&packed, 500_000);
        assert_eq!((read.unwrap().len(), kept.len()), (500_000, 500_000));
        let (read, kept) = unpacked(&packed, 499_999);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(kept.len() < 500_000);
        let (read, kept) = unpacked(&packed[..packed.len() - 3], 500_000);
        assert_eq!(read.unwrap(), kept);
    }
}
