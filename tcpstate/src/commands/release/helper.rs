//! Frees ports for the dashboard, which has given up the rights that it takes: a process of
//! its own, started before, that does what `release` does and nothing else. It ends when
//! the dashboard does.

use std::io::{self, BufRead as _, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use super::consent::{Asked, Consent};
use super::dialogue::{DashboardMessage, Said, line, say};
use super::{Options, Printer, free};
use crate::cli::{ReleaseArgs, SocketArgs};
use crate::tui::ReleaseRequest;

/// More is never said without a line's end.
const MAX_LINE: usize = 1 << 20;

/// The process, as the dashboard sees it.
#[derive(Debug)]
pub(in crate::commands) struct Helper {
    stream: UnixStream,
    /// Of a line that has not ended.
    read: Vec<u8>,
    is_gone: bool,
}

impl Helper {
    /// Starts it; with all that this process may do.
    pub(in crate::commands) fn start() -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        // It is never waited for: it outlives the dashboard by the step that it is at.
        Command::new("/proc/self/exe")
            .arg0("tcpstate")
            .arg("__release")
            .stdin(theirs.try_clone()?)
            .stdout(theirs)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            stream,
            read: Vec::new(),
            is_gone: false,
        })
    }

    /// Asks for a port's plan.
    pub(in crate::commands) fn release(&mut self, request: ReleaseRequest) -> io::Result<()> {
        self.stream
            .write_all(&line(&DashboardMessage::Release(request)))
    }

    /// Says whether `yes` was typed.
    pub(in crate::commands) fn answer(&mut self, is_yes: bool) -> io::Result<()> {
        self.stream
            .write_all(&line(&DashboardMessage::Answer(is_yes)))
    }

    /// What it has said meanwhile. Waits for nothing.
    pub(in crate::commands) fn take(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        if self.is_gone {
            return said;
        }
        let mut bytes = [0; 16 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(count @ 1..) if self.read.len() < MAX_LINE => {
                    self.read.extend(bytes.get(..count).unwrap_or_default());
                }
                Ok(_) | Err(_) => {
                    self.is_gone = true;
                    said.push(Said::Text(
                        "\nWhat frees ports for the dashboard has ended; `tcpstate release PORT` \
                         does the same.\n"
                            .to_owned(),
                    ));
                    said.push(Said::Ended);
                    return said;
                }
            }
        }
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            said.extend(serde_json::from_slice::<Said>(&line).ok());
        }
        said
    }
}

/// The process itself.
pub(in crate::commands) fn serve() -> Result<ExitCode> {
    // By the link it was started from it would be called `exe`.
    let _ = rustix::thread::set_name(c"tcpstate");
    let mut text = String::new();
    loop {
        text.clear();
        let read = io::stdin().lock().read_line(&mut text);
        if read.context("cannot read what the dashboard asks for")? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let Ok(DashboardMessage::Release(request)) = serde_json::from_str(&text) else {
            continue;
        };
        let options = Options::usual();
        let freed = free(
            &arguments(request),
            options,
            Printer::Dashboard,
            Consent::new(Asked::Dashboard),
        );
        if let Err(error) = freed {
            Printer::Dashboard.say(&format!("{error:#}")).ok();
        }
        say(&Said::Ended);
    }
}

/// As they would be given to `release`.
fn arguments(
    ReleaseRequest {
        port,
        addr,
        is_ipv6,
        netns,
        reuse,
        uid,
    }: ReleaseRequest,
) -> ReleaseArgs {
    ReleaseArgs {
        ports: vec![port],
        socket: SocketArgs {
            addr: addr.map(|addr| addr.to_string()),
            is_reuseaddr: reuse.reuseaddr,
            is_reuseport: reuse.reuseport,
            is_ipv6,
            is_v6only: reuse.v6only,
            device: None,
            uid,
            netns: netns.to_string(),
        },
        dry_run: false,
        yes: false,
        force: false,
        timeout: None,
        json: false,
    }
}
