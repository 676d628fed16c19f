//! Takes the calls that the filter puts before us, and answers them.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::filter::{Installed, LANDLOCK_RESTRICT_SELF, NATIVE};

/// Where the calls of one start of the program come from.
#[derive(Debug)]
pub struct SeccompListener {
    fd: OwnedFd,
    /// How its filter was installed.
    pub installed: Installed,
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names the call as long as it waits.
    pub id: u64,
    /// The thread that makes it, in our pid namespace; 0: not in it.
    pub tid: u32,
    /// Which call, and its arguments as they were in the registers.
    pub call: SystemCall,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemCall {
    /// `bind(fd, addr, len)`.
    Bind {
        /// Descriptor of the caller.
        fd: i32,
        /// Where in its memory the address is.
        addr: u64,
        /// The address's length as it was given.
        len: u32,
    },
    /// `listen(fd, backlog)`.
    Listen {
        /// Descriptor of the caller.
        fd: i32,
        /// Connections that may wait.
        backlog: i32,
    },
    /// The caller gives up rights that nothing shows.
    LandlockRestrictSelf,
    /// `bind` of a 32-bit or x32 program.
    OtherTable,
}

impl SeccompListener {
    /// Takes over the descriptor that the filter came with.
    #[must_use]
    pub fn new(fd: OwnedFd, installed: Installed) -> Self {
        Self { fd, installed }
    }

    /// Takes the next call. `None`: there is none any more.
    #[expect(unsafe_code, reason = "the ioctl has no safe wrapper")]
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        // SAFETY: the structure is plain numbers, and the kernel wants it zeroed.
        let mut taken: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one such structure.
        let result = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut taken,
            )
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // Its thread was killed, or a signal came first.
                Some(libc::ENOENT | libc::EINTR) => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(Notification {
            id: taken.id,
            tid: taken.pid,
            call: decode(&taken.data),
        }))
    }

    /// Whether the call still waits: what was read of its process until now was its own.
    #[must_use]
    pub fn is_valid(&self, id: u64) -> bool {
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &id).is_ok()
    }

    /// Lets the call go on as if nobody had looked, if it still waits.
    pub fn let_pass(&self, id: u64) {
        let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(0);
        let _ = self.send(id, 0, flags);
    }

    /// Answers in the kernel's place: 0, or an error number. `false`: the call does not wait
    /// any more.
    #[must_use]
    pub fn answer(&self, id: u64, errno: u32) -> bool {
        let errno = i32::try_from(errno).unwrap_or(libc::EINVAL);
        self.send(id, errno.saturating_neg(), 0)
    }

    fn send(&self, id: u64, error: i32, flags: u32) -> bool {
        let answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, &answer).is_ok()
    }

    /// Puts a descriptor of ours in the place of the caller's `target` (Linux 5.9).
    pub fn put_in_place(
        &self,
        id: u64,
        ours: impl AsFd,
        target: i32,
        is_cloexec: bool,
    ) -> io::Result<()> {
        let number = |fd: i32| u32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::Other));
        let cloexec = u32::try_from(libc::O_CLOEXEC).unwrap_or(0);
        let addfd = libc::seccomp_notif_addfd {
            id,
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap_or(0),
            srcfd: number(ours.as_fd().as_raw_fd())?,
            newfd: number(target)?,
            newfd_flags: if is_cloexec { cloexec } else { 0 },
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &addfd)
    }

    /// Every process below the filter has ended (Linux 5.9).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut asked = [PollFd::new(&self.fd, PollFlags::IN)];
        let answered = poll(&mut asked, Some(&Timespec::default()));
        answered.is_ok()
            && asked
                .first()
                .is_some_and(|fd| fd.revents().contains(PollFlags::HUP))
    }

    /// Gives the descriptor to somebody else.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    #[expect(unsafe_code, reason = "the ioctls have no safe wrapper")]
    fn ioctl<T>(&self, request: libc::Ioctl, argument: &T) -> io::Result<()> {
        // SAFETY: the kernel reads a structure that the request belongs to; none of these
        // requests keeps it.
        let result =
            unsafe { libc::ioctl(self.fd.as_raw_fd(), request, std::ptr::from_ref(argument)) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsFd for SeccompListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn decode(data: &libc::seccomp_data) -> SystemCall {
    let [first, second, third, ..] = data.args;
    let number = i64::from(data.nr);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "so the kernel takes an int out of a register"
    )]
    let int = |register: u64| register as i32;
    if data.arch != NATIVE {
        SystemCall::OtherTable
    } else if number == libc::SYS_bind {
        SystemCall::Bind {
            fd: int(first),
            addr: second,
            len: u32::try_from(int(third)).unwrap_or(u32::MAX),
        }
    } else if number == libc::SYS_listen {
        SystemCall::Listen {
            fd: int(first),
            backlog: int(second),
        }
    } else if data.nr == LANDLOCK_RESTRICT_SELF {
        SystemCall::LandlockRestrictSelf
    } else {
        SystemCall::OtherTable
    }
}
