//! `tcpstate run`: a program with its binds explained, helped, held back or kept.

pub(super) mod calls;
pub(super) mod explainer;
mod flood;
pub(super) mod github;
mod hooks;
pub(super) mod keep;
mod program;
mod progress;
mod respawn;
mod reuseaddr_group;

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};

use self::calls::{Calls, HoldBack, Policy};
use self::explainer::{Explainer, FailureSink};
use self::keep::KeptSockets;
use self::program::Program;
use crate::cli::RunArgs;
use crate::supervise::filter::Installed;
use crate::supervise::notification::SeccompListener;
use crate::supervise::signals::Signals;

/// Runs the program to its end, and gives its exit code.
pub(super) fn run(args: &RunArgs, verbose: bool) -> Result<ExitCode> {
    // Before there is a second thread.
    let signals = Signals::read_from_now().context("cannot read signals")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("cannot become the parent of processes whose own has ended")?;
    let policy = Policy {
        reuseaddr: args.is_reuseaddr,
        reuseport: args.is_reuseport,
        hold_back: match args.wait {
            None => HoldBack::Never,
            Some(None) => HoldBack::Always,
            Some(Some(time)) => HoldBack::AtMost(time),
        },
        verbose,
    };
    let kept_sockets = KeptSockets::new(&args.keep, args.keep_for);
    let explainer = Explainer::start(args.json.as_deref(), FailureSink::Stderr)?;
    let calls = Calls::new(policy, kept_sockets, explainer)?;
    Program::new(args, signals, calls).run()
}

/// Lets the calls pass of processes that go on after the program that they descend from: the
/// listener is our standard input. Without anybody who answers the kernel would refuse them
/// (ENOSYS).
pub(super) fn pass() -> Result<()> {
    let stdin = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context("cannot take over the calls")?;
    let listener = SeccompListener::new(stdin, Installed::default());
    loop {
        let mut asked = [PollFd::new(&listener, PollFlags::IN)];
        match poll(&mut asked, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for calls"),
        }
        let [asked] = asked;
        if asked.revents().contains(PollFlags::IN) {
            if let Some(call) = listener.receive().context("cannot take a call")? {
                listener.let_pass(call.id);
            }
        } else if !asked.revents().is_empty() {
            return Ok(());
        }
    }
}

/// Makes one bind, which takes no port where it is answered by who supervises it; what comes
/// of it is that one's affair.
#[expect(clippy::unnecessary_wraps, reason = "commands may fail")]
pub(super) fn bind_once() -> Result<()> {
    let _ = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    Ok(())
}
