//! A process of the demo: does with real sockets what it is told, a line at a
//! time, and answers each line with one.
//!
//! | line | does |
//! | --- | --- |
//! | `name NAME` | renames the process |
//! | `listen ADDR OPTION…` | `socket`, options (`reuseaddr`, `reuseport`), `bind`, `listen` |
//! | `bind ADDR OPTION…` | the same without `listen` |
//! | `connect ADDR` | connects; the kernel chooses the local port |
//! | `accept` | accepts one connection |
//! | `linger` | sets `SO_LINGER` with 0 seconds on all connections |
//! | `close` | closes all connections |
//! | `stop-listening` | closes the listening socket |
//! | `await-close` | waits until the peer has closed, then closes |
//! | `await-fin` | waits until the peer has closed, and does not close |
//! | `child` | starts a child that inherits the listening socket |
//!
//! It ends when its standard input does.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, accept_with, bind, connect, listen, recv,
    socket_with,
};

/// How an answer begins when the kernel refused; the error's number follows.
pub const REFUSED: &str = "refused";
/// The answer when it was done.
pub const DONE: &str = "done";

/// Plays until the standard input ends. A child only holds what it inherited.
pub fn play(is_child: bool) -> io::Result<()> {
    if is_child {
        return outlive_parent();
    }
    let mut actor = Actor::default();
    let mut stdout = io::stdout();
    for line in io::stdin().lock().lines() {
        let line = line?;
        match actor.perform(&line) {
            Ok(()) => writeln!(stdout, "{DONE}")?,
            Err(errno) => writeln!(stdout, "{REFUSED} {}", errno.raw_os_error())?,
        }
        stdout.flush()?;
    }
    Ok(())
}

/// Holds what was inherited: waits for the parent to go, then for the end of
/// the standard input that both share. The parent lives until it has been told
/// that its child knows it.
fn outlive_parent() -> io::Result<()> {
    set_name("server-child");
    let parent = rustix::process::getppid();
    let mut stdout = io::stdout();
    writeln!(stdout, "{DONE}")?;
    stdout.flush()?;
    while rustix::process::getppid() == parent {
        std::thread::sleep(Duration::from_millis(5));
    }
    io::copy(&mut io::stdin(), &mut io::sink()).map(|_| ())
}

#[derive(Default)]
struct Actor {
    listener: Option<OwnedFd>,
    connections: Vec<OwnedFd>,
}

impl Actor {
    fn perform(&mut self, line: &str) -> Result<(), Errno> {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("name") => set_name(words.next().unwrap_or("actor")),
            Some("bind") => self.listener = Some(bound(words)?),
            Some("listen") => {
                let listener = bound(words)?;
                listen(&listener, 16)?;
                self.listener = Some(listener);
            }
            Some("connect") => {
                let address = address(words.next())?;
                let connection = tcp(&address)?;
                connect(&connection, &address)?;
                self.connections.push(connection);
            }
            Some("accept") => {
                let listener = self.listener.as_ref().ok_or(Errno::BADF)?;
                self.connections
                    .push(accept_with(listener, SocketFlags::CLOEXEC)?);
            }
            Some("linger") => {
                for connection in &self.connections {
                    set_socket_linger(connection, Some(Duration::ZERO))?;
                }
            }
            Some("close") => self.connections.clear(),
            Some("stop-listening") => self.listener = None,
            Some("await-close") => {
                self.await_fin()?;
                self.connections.clear();
            }
            Some("await-fin") => self.await_fin()?,
            Some("child") => self.leave_listener_to_child()?,
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    fn await_fin(&self) -> Result<(), Errno> {
        for connection in &self.connections {
            let mut byte = [0_u8; 1];
            match recv(connection, &mut byte, RecvFlags::empty()) {
                Ok(_) | Err(Errno::CONNRESET) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn leave_listener_to_child(&self) -> Result<(), Errno> {
        let listener = self.listener.as_ref().ok_or(Errno::BADF)?;
        // The mistake that the story is about: a listening socket without
        // close-on-exec goes to every child.
        rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty())?;
        let mut child = Command::new("/proc/self/exe")
            .args(["__actor", "--child"])
            .stdin(
                io::stdin()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(|error| errno(&error))?,
            )
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| errno(&error))?;
        let mut answer = String::new();
        child
            .stdout
            .take()
            .map(BufReader::new)
            .ok_or(Errno::PIPE)?
            .read_line(&mut answer)
            .map_err(|error| errno(&error))?;
        if answer.trim() == DONE {
            Ok(())
        } else {
            Err(Errno::CHILD)
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn set_name(name: &str) {
    let mut bytes = name.as_bytes().to_vec();
    bytes.truncate(15);
    if let Ok(name) = std::ffi::CString::new(bytes) {
        // A name is for show; nothing depends on it.
        let _ = rustix::thread::set_name(&name);
    }
}

fn address(word: Option<&str>) -> Result<SocketAddr, Errno> {
    word.and_then(|word| word.parse().ok()).ok_or(Errno::INVAL)
}

fn tcp(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

fn bound<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<OwnedFd, Errno> {
    let address = address(words.next())?;
    let socket = tcp(&address)?;
    for option in words {
        match option {
            "reuseaddr" => set_socket_reuseaddr(&socket, true)?,
            "reuseport" => set_socket_reuseport(&socket, true)?,
            _ => return Err(Errno::INVAL),
        }
    }
    bind(&socket, &address)?;
    Ok(socket)
}
