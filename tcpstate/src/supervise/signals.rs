//! Signals to the supervisor. They are blocked and read, so that nothing is handled in
//! between, and that the program below begins with the dispositions that we were given.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that are read. The others do to us what they always do.
const READ: [i32; 11] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGTSTP,
    // Written to in the background, a terminal may stop us otherwise.
    libc::SIGTTOU,
];

/// A signal that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Which.
    pub number: i32,
    /// The kernel sent it: a key at the terminal, which every process of the group has got.
    pub is_kernels: bool,
}

/// The signals of this process from here on.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    before: Mask,
    ignored: u64,
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    #[expect(unsafe_code, reason = "sets of signals are made by libc")]
    fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset writes the whole set; it and sigaddset read nothing else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }

    /// The blocked signals of the calling thread.
    pub fn current() -> io::Result<Self> {
        let none = Self::of(&[]);
        let before = none.block()?;
        before.block()?;
        Ok(before)
    }

    /// Makes it the set of blocked signals of the calling thread, and gives the one before.
    /// Async-signal-safe.
    #[expect(unsafe_code, reason = "no crate here changes the mask")]
    pub fn block(&self) -> io::Result<Self> {
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets live through the call, which fills the second one.
        unsafe {
            match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, before.as_mut_ptr()) {
                0 => Ok(Self(before.assume_init())),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
    }
}

impl Signals {
    /// What a thread blocks that shows a screen and is to hear of its size, and of nothing else
    /// that is read.
    #[must_use]
    pub fn of_screen() -> Mask {
        let others = READ.into_iter().filter(|number| *number != libc::SIGWINCH);
        Mask::of(&others.collect::<Vec<_>>())
    }

    /// Reads signals from here on. To be called before there is a second thread.
    #[expect(unsafe_code, reason = "signalfd has no safe wrapper")]
    pub fn read_from_now() -> io::Result<Self> {
        let ignored = ignored();
        let set = Mask::of(&READ);
        let before = set.block()?;
        // SAFETY: reads the set, and makes a descriptor.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: the kernel has just made it for us.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            before,
            ignored,
        })
    }

    /// What was blocked before.
    #[must_use]
    pub fn before(&self) -> Mask {
        self.before
    }

    /// The next signal that whoever started us did not have ignored. `None`: none has come.
    #[must_use]
    pub fn next(&self) -> Option<Signal> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        loop {
            let mut bytes = [0_u8; SIZE];
            match rustix::io::read(&self.fd, &mut bytes) {
                Ok(SIZE) => {}
                _ => return None,
            }
            let field = |at: usize| {
                let bytes = bytes.get(at..at + 4)?;
                Some(i32::from_ne_bytes(bytes.try_into().ok()?))
            };
            // ssi_signo and ssi_code.
            let (number, code) = (field(0)?, field(8)?);
            let is_ignored = 1_u64
                .checked_shl(number.unsigned_abs().saturating_sub(1))
                .is_some_and(|bit| self.ignored & bit != 0);
            if !is_ignored || number == libc::SIGCHLD {
                return Some(Signal {
                    number,
                    is_kernels: code == libc::SI_KERNEL,
                });
            }
        }
    }

    /// Stops this process as the signal does by default, until somebody continues it.
    #[expect(unsafe_code, reason = "no crate here raises a signal")]
    pub fn stop_by(&self, number: i32) -> io::Result<()> {
        let others: Vec<i32> = READ.into_iter().filter(|one| *one != number).collect();
        // SAFETY: sends a signal to the calling thread.
        if unsafe { libc::raise(number) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let all = Mask::of(&others).block()?;
        all.block().map(drop)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `SigIgn` of this process: bit n-1 is signal n.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether we were started with SIGPIPE ignored, as systemd does: Rust ignores it in any
/// case before `main`, and has it act by default in programs that it starts.
static IGNORED_SIGPIPE: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "nothing else runs before the runtime")]
#[used]
// SAFETY: the section holds pointers to functions of this type, which libc calls once.
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

#[expect(unsafe_code, reason = "std does not tell dispositions")]
extern "C" fn note_sigpipe() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only, and fills the structure, for which all zeros is a value.
    let is_ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    };
    IGNORED_SIGPIPE.store(is_ignored, Ordering::Relaxed);
}

/// Gives SIGPIPE the disposition that we were started with. For the program that is about to
/// be started: async-signal-safe.
#[expect(unsafe_code, reason = "std does not set dispositions")]
pub fn restore_sigpipe() {
    if IGNORED_SIGPIPE.load(Ordering::Relaxed) {
        // SAFETY: installs no handler.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        }
    }
}
