//! One file of a recording: plain or compressed, private, never left with half
//! a line in the middle.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zstd::stream::write::Encoder;

use super::secure_file;

/// Where lines go.
pub(super) enum Sink {
    /// As they are.
    Plain {
        file: File,
        /// Bytes up to the end of the last whole line.
        whole: u64,
    },
    /// In zstd frames.
    Zstd {
        encoder: Box<Encoder<'static, File>>,
        /// The compressor may have taken half a line before the disk was full.
        is_torn: bool,
    },
}

impl Sink {
    /// Creates the file, or empties it.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = secure_file::create(path)?;
        if is_zstd(path) {
            // 0: the library's own choice of level.
            return Ok(Self::Zstd {
                encoder: Box::new(Encoder::new(file, 0)?),
                is_torn: false,
            });
        }
        Ok(Self::Plain { file, whole: 0 })
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain { file, whole } => {
                let result = file.write_all(lines);
                if result.is_ok() {
                    *whole += lines.len() as u64;
                } else {
                    // A full disk takes part of a line. What follows once there
                    // is room again must not be glued to it.
                    file.set_len(*whole)?;
                    file.seek(SeekFrom::Start(*whole))?;
                }
                result
            }
            Self::Zstd { encoder, is_torn } => {
                if *is_torn {
                    // What was torn ends here; an empty line is none.
                    encoder.write_all(b"\n")?;
                    *is_torn = false;
                }
                let result = encoder.write_all(lines);
                *is_torn = result.is_err();
                result
            }
        }
    }

    /// Makes what was written readable, also if nothing follows any more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Zstd { encoder, .. } => encoder.flush(),
        }
    }

    /// Ends the file.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Zstd { encoder, .. } => encoder.finish().map(drop),
        }
    }

    /// Bytes in the file so far; of a compressed one those that have left the
    /// compressor.
    pub(super) fn len(&self) -> u64 {
        self.file().metadata().map_or(0, |metadata| metadata.len())
    }

    /// Whether somebody has deleted the file: what is written can never be read.
    pub(super) fn is_deleted(&self) -> bool {
        self.file()
            .metadata()
            .is_ok_and(|metadata| metadata.nlink() == 0)
    }

    fn file(&self) -> &File {
        match self {
            Self::Plain { file, .. } => file,
            Self::Zstd { encoder, .. } => encoder.get_ref(),
        }
    }
}

/// The name decides.
pub(super) fn is_zstd(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zst"))
}
