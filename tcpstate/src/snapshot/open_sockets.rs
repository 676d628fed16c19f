//! Reads what the descriptor iterator of the kernel program writes: which process has which socket
//! open, all of them in one pass. A descriptor costs it some 100 ns, and a link in
//! `/proc/PID/fd` some microseconds.

use std::fs::File;
use std::io::{self, Read as _};

use tcpstate_common::record::OpenSocketRecord;
use zerocopy::FromBytes;

/// Bytes read at once; the kernel fills 32 KiB per call.
const BUFFER: usize = 64 << 10;

/// A pass that is begun by one thread and may be read by another one.
#[derive(Debug)]
pub(crate) struct Descriptors(File);

impl Descriptors {
    /// A pass that has begun; what it finds is what there is when it is read.
    pub(crate) fn of(pass: File) -> Self {
        Self(pass)
    }

    /// Hands out each open socket: inode, process, descriptor. `go_on` is asked between
    /// some thousand of them. `false`: it said no.
    pub(crate) fn read(
        mut self,
        mut go_on: impl FnMut() -> bool,
        mut take: impl FnMut(u64, u32, u32),
    ) -> io::Result<bool> {
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        while go_on() {
            let read = match self.0.read(&mut buffer[filled..]) {
                Ok(0) => return Ok(true),
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
                Err(error) => return Err(error),
            };
            let end = filled + read;
            let mut rest = &buffer[..end];
            while let Ok((record, after)) = OpenSocketRecord::read_from_prefix(rest) {
                take(record.inode, record.tgid, record.fd);
                rest = after;
            }
            filled = rest.len();
            buffer.copy_within(end - filled..end, 0);
        }
        Ok(false)
    }
}
