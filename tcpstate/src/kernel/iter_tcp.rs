//! Reads the socket iterator of the kernel program: everything that `sock_diag`
//! reports, plus the options that decide bind conflicts. Sockets that are only
//! bound are not among it.

use std::fs::File;
use std::io::{self, Read as _};

use aya::programs::Iter;
use tcpstate_common::record::SnapshotRecord;
use thiserror::Error;
use zerocopy::FromBytes;

use super::Decoder;
use crate::snapshot::SocketItem;

/// Why the iterator could not be read.
#[derive(Debug, Error)]
pub enum IterError {
    /// The kernel refused to start it.
    #[error("starting the socket iterator: {0}")]
    Start(String),
    /// Reading stopped.
    #[error("reading the socket iterator: {0}")]
    Read(#[source] io::Error),
}

/// Bytes read at once; the kernel fills 32 KiB per call.
const BUFFER: usize = 64 << 10;

/// The file that a pass of an iterator is read from.
pub(super) fn begin(program: &mut Iter) -> Result<File, IterError> {
    let start = |error: &dyn std::error::Error| IterError::Start(error.to_string());
    let link = program.attach().map_err(|error| start(&error))?;
    let link = program.take_link(link).map_err(|error| start(&error))?;
    link.into_file().map_err(|error| start(&error))
}

/// The list, read bit by bit. It is begun inside the namespace that it is about, and
/// read on from any other one.
#[derive(Debug)]
pub(crate) struct Walk {
    file: File,
    buffer: Vec<u8>,
    filled: usize,
}

impl Walk {
    pub(crate) fn begin(program: &mut Iter) -> Result<Self, IterError> {
        Ok(Self {
            file: begin(program)?,
            buffer: vec![0; BUFFER],
            filled: 0,
        })
    }

    /// Hands out the next few hundred sockets, each with the `CLOCK_MONOTONIC`
    /// nanoseconds at which it was looked at. `false`: that was all.
    pub(crate) fn read(
        &mut self,
        decoder: &Decoder,
        mut take: impl FnMut(u64, SocketItem),
    ) -> Result<bool, IterError> {
        let read = match self.file.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            // EAGAIN: the kernel wants to be asked again after a long batch.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                return Ok(true);
            }
            Err(error) => return Err(IterError::Read(error)),
        };
        let end = self.filled + read;
        let mut rest = &self.buffer[..end];
        while let Ok((record, after)) = SnapshotRecord::read_from_prefix(rest) {
            // A record that makes no sense is one socket less, not a failure.
            if let Ok((mono_ns, item)) = decoder.snapshot(&record) {
                take(mono_ns, item);
            }
            rest = after;
        }
        self.filled = rest.len();
        self.buffer.copy_within(end - self.filled..end, 0);
        Ok(true)
    }
}

/// All sockets of the calling thread's namespace, each with the
/// `CLOCK_MONOTONIC` nanoseconds at which it was looked at.
pub(crate) fn read(
    program: &mut Iter,
    decoder: &Decoder,
) -> Result<Vec<(u64, SocketItem)>, IterError> {
    let mut walk = Walk::begin(program)?;
    let mut items = Vec::new();
    while walk.read(decoder, |mono_ns, item| items.push((mono_ns, item)))? {}
    Ok(items)
}
