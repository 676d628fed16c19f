//! Whether this kernel and these privileges allow supervision: tried with a child of ours that
//! asks for a port and is refused, so that none is taken.

use std::ffi::OsString;
use std::os::fd::AsFd as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::caller;
use super::child::{self, Below, StartError, Started};
use super::filter::Installed;
use super::notification::SystemCall;
use super::signals::Mask;

/// The hidden command that makes one bind.
const COMMAND: [&str; 2] = ["/proc/self/exe", "__bind"];
/// How long the child has.
const PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// What came of it. An absent reason: it works.
#[derive(Debug)]
pub struct Outcome {
    /// How the filter was installed, where it was.
    pub installed: Option<Installed>,
    /// Why calls cannot be put before us.
    pub calls: Option<String>,
    /// Why a caller's socket cannot be had.
    pub socket: Option<String>,
    /// Why a socket cannot be put in the place of a caller's.
    pub addfd_error: Option<String>,
}

/// Tries it.
#[must_use]
pub fn run() -> Outcome {
    let mut outcome = Outcome {
        installed: None,
        calls: None,
        socket: Some("no call came".to_owned()),
        addfd_error: Some("no call came".to_owned()),
    };
    let started = Mask::current()
        .map_err(StartError::Process)
        .and_then(|mask| child::start(&COMMAND.map(OsString::from), mask, Below::Filter));
    match started {
        Ok(Started { pid, listener }) => {
            if let Some(listener) = listener {
                outcome.installed = Some(listener.installed);
                outcome.calls =
                    receive(&listener, &mut outcome.socket, &mut outcome.addfd_error).err();
            }
            end(pid);
        }
        Err(error) => outcome.calls = Some(error.to_string()),
    }
    outcome
}

fn receive(
    listener: &super::notification::SeccompListener,
    socket: &mut Option<String>,
    addfd_error: &mut Option<String>,
) -> Result<(), String> {
    let fd = listener.as_fd();
    let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match poll(&mut asked, Some(&PATIENCE)) {
        Ok(1..) => {}
        Ok(_) => return Err("the call of a child did not come".to_owned()),
        Err(errno) => return Err(errno.to_string()),
    }
    let notification = listener.receive().map_err(|error| error.to_string())?;
    let Some(notification) = notification else {
        return Err("the child ended before its call".to_owned());
    };
    let SystemCall::Bind { fd, .. } = notification.call else {
        return Err("another call than the child's came".to_owned());
    };
    match caller::descriptor(notification.tid, fd) {
        Ok(ours) => {
            *socket = None;
            let added = listener.put_in_place(notification.id, &ours, fd, true);
            *addfd_error = added.err().map(|error| error.to_string());
        }
        Err(errno) => {
            *socket = Some(match child::check_sockets() {
                Err(StartError::Sockets(why)) => format!("it is what {why}"),
                _ => errno.to_string(),
            });
            *addfd_error = Some("a caller's socket is not to be had".to_owned());
        }
    }
    let refused = libc::EADDRINUSE.unsigned_abs();
    if listener.answer(notification.id, refused) {
        Ok(())
    } else {
        Err("the kernel took no answer".to_owned())
    }
}

/// It has nothing more to do.
fn end(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    let _ = waitpid(Some(pid), WaitOptions::empty());
}
