//! The standard streams, written so that who does not read them cannot hold up the end.
//!
//! A pipe that nobody empties and a terminal that is stopped make a write wait. Here it
//! is the program that waits, and once a signal has come or the time is over it waits
//! for [`GRACE`] only.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock;

/// How long a reader has after the end to take what is left.
pub const GRACE: Duration = Duration::from_millis(400);
/// How long somebody who watches waits with what is to be said on stderr.
const COMPLAINT: Duration = Duration::from_millis(200);
/// Time between two looks at whether the end has come.
const POLL_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// `PIPE_BUF`: what a pipe that can be written takes without waiting.
const AT_ONCE: usize = 4096;

static SIGNALLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// When the end was first noticed.
static ENDED_NS: AtomicU64 = AtomicU64::new(u64::MAX);
/// When the time is over.
static DEADLINE_NS: AtomicU64 = AtomicU64::new(u64::MAX);

/// From here on SIGINT, SIGTERM and SIGHUP end the waiting for readers.
pub fn end_on_signals() -> io::Result<()> {
    let flag = SIGNALLED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// The waiting for readers ends at this time as well.
pub fn end_at(mono_ns: u64) {
    DEADLINE_NS.store(mono_ns, Ordering::Relaxed);
}

fn is_over(now_ns: u64) -> bool {
    let is_signalled = SIGNALLED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed));
    if is_signalled || DEADLINE_NS.load(Ordering::Relaxed) <= now_ns {
        ENDED_NS.fetch_min(now_ns, Ordering::Relaxed);
    }
    let grace_ns = u64::try_from(GRACE.as_nanos()).unwrap_or(0);
    ENDED_NS.load(Ordering::Relaxed).saturating_add(grace_ns) <= now_ns
}

/// One of the standard streams. An error of the kind `TimedOut`: the end has come, and
/// nobody reads; `BrokenPipe`: who reads has gone, or the terminal has.
#[derive(Debug)]
pub struct Stream {
    fd: BorrowedFd<'static>,
    method: Method,
    /// How long it is waited for a reader before the end.
    patience: Option<Duration>,
    /// Errors are kept to ourselves: who draws notices [`has_hung_up`].
    is_quiet: bool,
    is_lost: bool,
}

/// How to write without waiting.
#[derive(Debug)]
enum Method {
    /// The same pipe or terminal, opened for ourselves: others who have the stream must
    /// not find that it does not wait.
    Own(File),
    /// A socket.
    Socket,
    /// As much as can be written surely.
    Piecemeal,
    /// A file never makes one wait.
    Simple,
}

impl Stream {
    /// The standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(rustix::stdio::stdout())
    }

    /// The standard output as a screen: what cannot be written to it is let go.
    #[must_use]
    pub fn screen() -> Self {
        Self {
            is_quiet: true,
            ..Self::stdout()
        }
    }

    /// The standard error. Who watches does not wait long for its reader.
    #[must_use]
    pub fn stderr() -> Self {
        Self {
            patience: SIGNALLED.get().map(|_| COMPLAINT),
            ..Self::new(rustix::stdio::stderr())
        }
    }

    /// The standard error, for whose reader nobody is kept waiting long.
    #[must_use]
    pub fn brief_stderr() -> Self {
        Self {
            patience: Some(COMPLAINT),
            ..Self::new(rustix::stdio::stderr())
        }
    }

    fn new(fd: BorrowedFd<'static>) -> Self {
        Self {
            fd,
            method: Method::of(fd),
            patience: None,
            is_quiet: false,
            is_lost: false,
        }
    }

    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.method {
            Method::Own(file) => file.write(bytes),
            Method::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::send(self.fd, bytes, flags)?)
            }
            Method::Piecemeal if !is_writable(self.fd, Timespec::default())? => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Method::Piecemeal => {
                let piece = &bytes[..bytes.len().min(AT_ONCE)];
                Ok(rustix::io::write(self.fd, piece)?)
            }
            Method::Simple => Ok(rustix::io::write(self.fd, bytes)?),
        }
    }

    fn write_patiently(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let began_ns = clock::monotonic_ns();
        loop {
            match self.write_now(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.raw_os_error() == Some(libc::EIO) && hung_up(self.fd) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                written => return written,
            }
            let now_ns = clock::monotonic_ns();
            let waited = Duration::from_nanos(now_ns.saturating_sub(began_ns));
            let is_too_long = self.patience.is_some_and(|patience| waited >= patience);
            if is_too_long || is_over(now_ns) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            is_writable(self.fd, POLL_EVERY)?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_lost {
            return Ok(bytes.len());
        }
        match self.write_patiently(bytes) {
            Err(error) if self.is_quiet && error.kind() != io::ErrorKind::Interrupted => {
                self.is_lost = true;
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the terminal on the standard output does not exist any more.
#[must_use]
pub fn has_hung_up() -> bool {
    hung_up(rustix::stdio::stdout())
}

fn hung_up(stream: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
    let is_answered = poll(&mut asked, Some(&Timespec::default())).is_ok();
    is_answered && asked[0].revents().intersects(PollFlags::HUP)
}

impl Method {
    fn of(stream: BorrowedFd<'_>) -> Self {
        let Ok(there) = rustix::fs::fstat(stream) else {
            return Self::Simple;
        };
        match FileType::from_raw_mode(there.st_mode) {
            FileType::Fifo | FileType::CharacterDevice => {
                let link = format!("/proc/self/fd/{}", stream.as_raw_fd());
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                rustix::fs::open(link, flags, Mode::empty())
                    .map_or(Self::Piecemeal, |own| Self::Own(own.into()))
            }
            FileType::Socket => Self::Socket,
            _ => Self::Simple,
        }
    }
}

fn is_writable(stream: impl AsFd, time: Timespec) -> io::Result<bool> {
    let stream = stream.as_fd();
    let mut asked = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
    match poll(&mut asked, Some(&time)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
