//! Signals, through a descriptor of the process: its number may be another's by the time
//! that a signal is sent, the descriptor never is.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::diagnosis::release::TargetProcess;
use crate::snapshot::{owners, proc};

/// The process that all others descend from.
const INIT: u32 = 1;

/// A process that is held by a descriptor.
#[derive(Debug)]
pub(in crate::commands::release) struct HeldProcess {
    pidfd: OwnedFd,
    target: TargetProcess,
}

impl HeldProcess {
    /// `None`: it is gone, another one has its number, or it has none of the sockets open
    /// any more.
    pub(in crate::commands::release) fn open(
        target: &TargetProcess,
    ) -> Result<Option<Self>, Errno> {
        let pid = target.process.pid;
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number.filter(|_| pid > INIT && pid != std::process::id()) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        let held = Self {
            pidfd,
            target: target.clone(),
        };
        // In this order: what /proc says is of the process that the descriptor is of, or of
        // one that started later.
        Ok((held.has_socket() && !held.has_ended()).then_some(held))
    }

    /// `false`: it has ended.
    pub(in crate::commands::release) fn signal(&self, signal: Signal) -> Result<bool, Errno> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it has ended.
    pub(in crate::commands::release) fn has_ended(&self) -> bool {
        let mut asked = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Whether it is the process that was seen, and has one of the sockets open still.
    pub(in crate::commands::release) fn has_socket(&self) -> bool {
        let pid = self.target.process.pid;
        let is_it =
            || proc::stat(pid).is_some_and(|stat| stat.start_ticks == self.target.start_ticks);
        is_it()
            && owners::open_sockets(pid).any(|inode| self.target.inodes.contains(&inode))
            && is_it()
    }

    /// Whether it is stopped (SIGSTOP, ctrl-z), and takes no signal before it goes on.
    pub(in crate::commands::release) fn is_stopped(&self) -> bool {
        proc::stat(self.target.process.pid).is_some_and(|stat| stat.state == 'T')
    }

    /// Whether a debugger has stopped it.
    pub(in crate::commands::release) fn is_traced(&self) -> bool {
        proc::stat(self.target.process.pid).is_some_and(|stat| stat.state == 't')
    }
}
