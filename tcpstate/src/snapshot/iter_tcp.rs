//! Reads the socket iterator of the kernel program: everything that `sock_diag`
//! tells, plus the options that decide bind conflicts. Sockets that are only
//! bound are not among it.

use std::io::{self, Read};

use aya::programs::Iter;
use tcpstate_common::record::SnapshotRecord;
use thiserror::Error;
use zerocopy::FromBytes;

use super::SocketItem;
use crate::kernel::Decoder;

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

/// Bytes read at once; the kernel fills a page or more per call.
const BUFFER: usize = 64 << 10;

/// All sockets of the calling thread's namespace, each with the
/// `CLOCK_MONOTONIC` nanoseconds at which it was looked at.
pub(crate) fn read(
    program: &mut Iter,
    decoder: &Decoder,
) -> Result<Vec<(u64, SocketItem)>, IterError> {
    let start = |error: &dyn std::error::Error| IterError::Start(error.to_string());
    let link = program.attach().map_err(|error| start(&error))?;
    let link = program.take_link(link).map_err(|error| start(&error))?;
    let mut file = link.into_file().map_err(|error| start(&error))?;

    let mut items = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let read = match file.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(items),
            Ok(read) => read,
            // EAGAIN: the kernel wants to be asked again after a long batch.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                continue;
            }
            Err(error) => return Err(IterError::Read(error)),
        };
        filled += read;
        let mut rest = &buffer[..filled];
        while let Ok((record, after)) = SnapshotRecord::read_from_prefix(rest) {
            // A record that makes no sense is one socket less, not a failure.
            items.extend(decoder.snapshot(&record).ok());
            rest = after;
        }
        let left = rest.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
    }
}
