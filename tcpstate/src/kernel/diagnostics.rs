//! What the kernel program says about itself, beside its records: rare lines
//! that help to find a layout that was not understood. On request only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Lines that wait to be taken. Full: further ones are dropped; they repeat.
const MAX_WAITING: usize = 64;

/// The reading end of the kernel program's lines.
pub(super) struct Diagnostics {
    /// `None`: the lines cannot be read any more.
    logger: Option<EbpfLogger<Lines>>,
    lines: Receiver<String>,
}

impl Diagnostics {
    /// `None`: the object has no such lines.
    pub(super) fn open(ebpf: &mut Ebpf) -> Option<Self> {
        let (sender, lines) = sync_channel(MAX_WAITING);
        let logger = EbpfLogger::init_with_logger(ebpf, Lines(sender)).ok()?;
        Some(Self {
            logger: Some(logger),
            lines,
        })
    }

    /// The lines that have come since the last call.
    pub(super) fn take(&mut self) -> Vec<String> {
        if let Some(logger) = &mut self.logger {
            // The crate panics on bytes that it does not understand. They are
            // written by its own macro, but no byte from the kernel may end us.
            if catch_unwind(AssertUnwindSafe(|| logger.flush())).is_err() {
                self.logger = None;
            }
        }
        self.lines.try_iter().collect()
    }
}

/// Keeps what is logged until it is taken: who prints depends on who has the
/// terminal.
struct Lines(SyncSender<String>);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let _ = self.0.try_send(record.args().to_string());
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_up_to_their_limit() {
        let (sender, lines) = sync_channel(MAX_WAITING);
        let log = Lines(sender);

        for number in 0..=MAX_WAITING {
            log.log(
                &Record::builder()
                    .args(format_args!("line {number}"))
                    .build(),
            );
        }

        let lines: Vec<String> = lines.try_iter().collect();
        assert_eq!(lines.len(), MAX_WAITING);
        assert_eq!(lines.first().map(String::as_str), Some("line 0"));
    }
}
