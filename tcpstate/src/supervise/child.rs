//! Starts the program below the filter, with everything else as we were given it: standard
//! streams, descriptors, terminal and process group, environment, folder, dispositions and
//! mask of signals, the limits of open files and locked memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::Pid;
use thiserror::Error;

use super::caller;
use super::filter::{Filter, Installed};
use super::notification::SeccompListener;
use super::signals::{self, Mask};
use crate::memory;

/// The program did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no filter, or none with notifications.
    #[error(
        "this kernel or container refuses the seccomp filter that `run` rests on ({0}); \
         `tcpstate doctor` says more"
    )]
    Filter(io::Error),
    /// Of nested filters only one can have notifications.
    #[error(
        "another supervisor above (a `tcpstate run`, or a container's) has taken the calls of \
         this process already, and the kernel allows one only: leave out this `tcpstate run`"
    )]
    Nested,
    /// This process may have nobody's descriptors.
    #[error(
        "`run` takes its program's sockets with pidfd_getfd, which {0}; `tcpstate doctor` says more"
    )]
    Sockets(String),
    /// The program itself.
    #[error("cannot start `{program}`: {error}; give the name or the path of a program")]
    Program {
        /// Which.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// Something else.
    #[error("cannot start a process: {0}")]
    Process(io::Error),
}

impl StartError {
    /// Whether it is the supervision that cannot be had, not the program.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Filter(_) | Self::Nested | Self::Sockets(_))
    }
}

/// A started program.
#[derive(Debug)]
pub struct Started {
    /// Its process.
    pub pid: Pid,
    /// Where its calls come from, if they are supervised.
    pub listener: Option<SeccompListener>,
}

/// What the program is started below.
#[derive(Clone, Copy, Debug)]
pub enum Below<'a> {
    /// The filter.
    Filter,
    /// Nothing but the control group whose `cgroup.procs` this is.
    Group(&'a File),
    /// Nothing: its calls are not supervised.
    Nothing,
}

/// Whether the sockets of a program could be had, of which this process is an ancestor. Takes
/// microseconds.
pub fn check_sockets() -> Result<(), StartError> {
    match caller::own_descriptor() {
        // Its own descriptors everybody may have: it is the call that is refused.
        Err(Errno::NOSYS) => {
            let why = "this kernel does not have (Linux 5.6)";
            return Err(StartError::Sockets(why.to_owned()));
        }
        Err(errno @ (Errno::PERM | Errno::ACCESS)) => {
            return Err(StartError::Sockets(format!(
                "a seccomp filter around this process refuses ({errno}): give the container the \
                 capability CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE)"
            )));
        }
        _ => {}
    }
    // `yama_ptrace_access_check`: 1 leaves descendants, 2 whoever may trace, 3 nobody.
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let why = match scope.as_deref().map(str::trim) {
        Ok("2") if !caller::has_ptrace() => {
            "kernel.yama.ptrace_scope = 2 leaves to root: run it as root, or set that to 1"
        }
        Ok("3") => "kernel.yama.ptrace_scope = 3 refuses to everybody until the next start",
        _ => return Ok(()),
    };
    Err(StartError::Sockets(why.to_owned()))
}

/// Starts `command`. `mask`: the blocked signals that it begins with.
pub fn start(command: &[OsString], mask: Mask, below: Below<'_>) -> Result<Started, StartError> {
    start_with(command, mask, below, |_| {})
}

/// The same with something set otherwise: streams, process group.
pub fn start_with(
    command: &[OsString],
    mask: Mask,
    below: Below<'_>,
    set: impl FnOnce(&mut Command),
) -> Result<Started, StartError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(StartError::Process(io::ErrorKind::InvalidInput.into()));
    };
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| StartError::Process(errno.into()))?;
    let is_supervised = matches!(below, Below::Filter);
    let filter = is_supervised.then(Filter::new);
    let entrance = match below {
        Below::Filter | Below::Nothing => None,
        Below::Group(procs) => Some(procs.try_clone().map_err(StartError::Process)?),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    set(&mut command);
    let prepare = move || {
        memory::restore_limits();
        signals::restore_sigpipe();
        mask.block()?;
        if let Some(procs) = &entrance {
            rustix::io::write(procs, b"0")?;
        }
        match &filter {
            Some(filter) => {
                let (fd, installed) = filter.install()?;
                hand_over(&theirs, &fd, installed)
            }
            None => Ok(()),
        }
    };
    #[expect(
        unsafe_code,
        reason = "what is done between fork and exec is so by contract"
    )]
    // SAFETY: system calls only; nothing is allocated, no lock is taken.
    unsafe {
        command.pre_exec(prepare);
    }
    let started = command.spawn();
    // What the child had of it goes with the command.
    drop(command);
    let taken = take_over(&ours);
    match (started, taken) {
        (Ok(child), Ok(Some(listener))) => Ok(Started {
            pid: Pid::from_child(&child),
            listener: Some(listener),
        }),
        (Ok(child), Ok(None)) if !is_supervised => Ok(Started {
            pid: Pid::from_child(&child),
            listener: None,
        }),
        (Ok(_), Ok(None)) => Err(StartError::Process(io::ErrorKind::UnexpectedEof.into())),
        (Ok(_), Err(error)) => Err(StartError::Process(error)),
        (Err(error), Ok(Some(_))) => Err(StartError::Program {
            program: program.to_string_lossy().into_owned(),
            error,
        }),
        (Err(error), _) if !is_supervised => Err(StartError::Program {
            program: program.to_string_lossy().into_owned(),
            error,
        }),
        (Err(error), _) => Err(match error.raw_os_error() {
            Some(libc::EBUSY) => StartError::Nested,
            Some(libc::EAGAIN | libc::ENOMEM) => StartError::Process(error),
            _ => StartError::Filter(error),
        }),
    }
}

/// In the child: allocates nothing.
fn hand_over(to: &OwnedFd, listener: &OwnedFd, installed: Installed) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::Other.into());
    }
    let how = [
        u8::from(installed.no_new_privs),
        u8::from(installed.waits_killable),
    ];
    sendmsg(to, &[IoSlice::new(&how)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn take_over(from: &OwnedFd) -> io::Result<Option<SeccompListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut how = [0; 2];
    // The child has sent it before its exec, or has ended.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    match recvmsg(from, &mut [IoSliceMut::new(&mut how)], &mut control, flags) {
        Ok(_) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    let [no_new_privs, waits_killable] = how;
    let installed = Installed {
        no_new_privs: no_new_privs != 0,
        waits_killable: waits_killable != 0,
    };
    let fds = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(fds.map(|fd| SeccompListener::new(fd, installed)))
}
