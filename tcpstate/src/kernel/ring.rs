//! The ring buffers: waiting for them, taking records out of them, and the ledger
//! of what did not make it into them.
//!
//! Failed calls have one for themselves, so that nothing else pushes them out.

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use tcpstate_common::record::Counter;
use tokio::io::{Interest, unix::AsyncFd};

use super::KernelError;

/// What the kernel program counted, over all CPUs, since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that found no room in the ring buffer.
    pub dropped: u64,
    /// Records written.
    pub written: u64,
    /// Calls whose entry could not be remembered.
    pub calls_forgotten: u64,
    /// Events that were given up because kernel memory could not be read.
    pub read_failed: u64,
    /// Failed calls that a hook did not report, and the one behind it did.
    pub made_up_for: u64,
    /// Failed calls that were counted and not reported one by one.
    pub counted: u64,
    /// Of the records written, those of failed calls.
    pub written_failed: u64,
}

/// The user side of the ring buffers and of the counters.
pub(super) struct Ring {
    records: RingBuf<MapData>,
    failed: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    /// Records handed out.
    read: u64,
    /// Of them those of failed calls.
    read_failed: u64,
    /// Made at the first wait: only that needs a runtime.
    waiter: Option<AsyncFd<OwnedFd>>,
}

impl Ring {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            records: map(ebpf, "EVENTS")?,
            failed: map(ebpf, "FAILED")?,
            counters: map(ebpf, "COUNTERS")?,
            read: 0,
            read_failed: 0,
            waiter: None,
        })
    }

    /// Returns once the kernel says that a failed call is there. Ordinary
    /// records wake nobody: drain at least every 100 ms as well.
    pub(super) async fn ready(&mut self) -> Result<(), KernelError> {
        let waiter = if let Some(waiter) = self.waiter.take() {
            waiter
        } else {
            let fd = self.failed.as_fd().try_clone_to_owned();
            watch(fd.map_err(KernelError::Wait)?)?
        };
        let waiter = self.waiter.insert(waiter);
        waiter
            .readable()
            .await
            .map_err(KernelError::Wait)?
            .clear_ready();
        Ok(())
    }

    /// Hands out the next record that is not of a failed call.
    pub(super) fn next<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let record = self.records.next()?;
        self.read += 1;
        Some(take(&record))
    }

    /// Hands out the next record of a failed call.
    pub(super) fn next_failed<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let record = self.failed.next()?;
        self.read += 1;
        self.read_failed += 1;
        Some(take(&record))
    }

    /// Records handed out so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Of them those of failed calls.
    pub(super) fn read_failed(&self) -> u64 {
        self.read_failed
    }

    pub(super) fn counters(&self) -> Result<Counters, KernelError> {
        let sum = |counter: Counter| {
            let values =
                self.counters
                    .get(&(counter as u32), 0)
                    .map_err(|source| KernelError::Map {
                        name: "COUNTERS",
                        source: Box::new(source),
                    })?;
            Ok(values.iter().sum())
        };
        Ok(Counters {
            dropped: sum(Counter::Dropped)?,
            written: sum(Counter::Written)?,
            calls_forgotten: sum(Counter::CallsForgotten)?,
            read_failed: sum(Counter::ReadFailed)?,
            made_up_for: sum(Counter::MadeUpFor)?,
            counted: sum(Counter::Counted)?,
            written_failed: sum(Counter::WrittenFailed)?,
        })
    }
}

#[expect(unsafe_code, reason = "tokio takes descriptors from unsafe code only")]
fn watch(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, KernelError> {
    // SAFETY: an owned descriptor always has the same number, and stays open
    // for as long as the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
        .map_err(|error| KernelError::Wait(error.into()))
}

/// Takes a map out of the object.
pub(super) fn map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    ebpf.take_map(name)
        .ok_or_else(|| aya::maps::MapError::InvalidName { name: name.into() })
        .and_then(T::try_from)
        .map_err(|source| KernelError::Map {
            name,
            source: Box::new(source),
        })
}
