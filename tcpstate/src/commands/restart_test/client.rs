//! Clients: real connections, each with a port that it is given, so that the kernel never
//! takes the server's own for one (which would hold it, or connect a client to itself).

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::snapshot::sysctl;

/// Ports that clients take where the settings name no range.
const RANGE: [u16; 2] = [32_768, 60_999];
/// Ports that are tried for one connection: others may have some.
const MAX_TRIES: usize = 4_096;
/// What is read of an answer at one time.
const BUFFER: usize = 16 * 1024;

/// Gives ports to clients, one after the other.
#[derive(Debug)]
pub(super) struct ClientPorts {
    range: [u16; 2],
    next: u16,
    server: u16,
}

impl ClientPorts {
    /// For clients of this port, in the calling thread's network namespace.
    pub(super) fn new(server: u16) -> Self {
        let range = sysctl::read().ip_local_port_range.unwrap_or(RANGE);
        // Others begin to take ports anywhere; two tests in a row should not meet.
        let [first, last] = range;
        let width = u32::from(last.saturating_sub(first)) + 1;
        let offset = std::process::id().wrapping_mul(257) % width;
        Self {
            range,
            next: first.saturating_add(u16::try_from(offset).unwrap_or(0)),
            server,
        }
    }

    fn next(&mut self) -> u16 {
        loop {
            let port = self.next;
            let [first, last] = self.range;
            self.next = if port >= last { first } else { port + 1 };
            if port != self.server || first == last {
                return port;
            }
        }
    }
}

/// A connection, or the try of one.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    pub(super) local: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) state: Connection,
    /// The server has sent something.
    pub(super) has_got_data: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// No answer yet.
    Connecting,
    /// Nobody listens.
    Refused,
    /// It is there.
    Open,
    /// The server has closed its direction.
    ClosedByServer,
    /// It was reset.
    Reset,
}

impl Client {
    /// Begins a connection.
    pub(super) fn begin(server: SocketAddr, ports: &mut ClientPorts) -> Result<Self> {
        for _ in 0..MAX_TRIES {
            let socket = Socket::new(
                Domain::for_address(server),
                Type::STREAM,
                Some(Protocol::TCP),
            )
            .context("cannot make a client's socket")?;
            socket
                .set_nonblocking(true)
                .context("cannot make a client's socket")?;
            // From the server's own address: of another family or host nothing would fit.
            let local = SocketAddr::new(server.ip(), ports.next());
            match socket.bind(&local.into()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                Err(error) => {
                    return Err(error).context(format!("a client cannot connect from {local}"));
                }
            }
            let state = match socket.connect(&server.into()) {
                Ok(()) => Connection::Open,
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                    Connection::Connecting
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Connection::Refused,
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
                Err(error) => {
                    return Err(error).context(format!("a client cannot connect to {server}"));
                }
            };
            return Ok(Self {
                stream: socket.into(),
                local,
                server,
                state,
                has_got_data: false,
            });
        }
        bail!("no free local port was found for a client of {server}; close some connections")
    }

    /// Waits for the connection, for at most this long.
    pub(super) fn connect(&mut self, time: Duration) {
        if self.state != Connection::Connecting || !is_ready(&self.stream, PollFlags::OUT, time) {
            return;
        }
        self.state = match self.stream.take_error() {
            Ok(None) => Connection::Open,
            Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => Connection::Refused,
            _ => Connection::Reset,
        };
    }

    /// Takes note of what has come.
    pub(super) fn advance(&mut self) {
        self.connect(Duration::ZERO);
        self.read_into(&mut Vec::new(), 0);
    }

    /// Reads what has come, and keeps what comes first of it.
    pub(super) fn read_into(&mut self, kept: &mut Vec<u8>, most: usize) {
        let mut buffer = [0; BUFFER];
        // Who sends without an end is read from again the next time.
        for _ in 0..8 {
            if self.state != Connection::Open {
                return;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => self.state = Connection::ClosedByServer,
                Ok(length) => {
                    self.has_got_data = true;
                    let length = length.min(most.saturating_sub(kept.len()));
                    kept.extend(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.state = Connection::Reset,
            }
        }
    }

    /// Closes the client's direction.
    pub(super) fn close_direction(&self) {
        // What is reset has none any more.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends something that no protocol has an answer to before its line ends.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Ends the connection with an RST, which leaves nothing behind on either side.
    pub(super) fn abort(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Ends the TIME_WAIT that the server's end of a closed connection is in, as far as its kernel
/// lets it (RFC 1337): a SYN from the client's port is answered out of the TIME_WAIT with an
/// ACK that fits nothing, and the client's RST for that ends it.
pub(super) fn end_time_wait(local: SocketAddr, server: SocketAddr) {
    let connect = || -> io::Result<()> {
        let socket = Socket::new(
            Domain::for_address(server),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        // Within the host all of that happens before it returns.
        socket.set_nonblocking(true)?;
        socket.connect(&server.into())
    };
    // It is under way or refused, and either is right.
    let _ = connect();
}

fn is_ready(stream: &TcpStream, flags: PollFlags, time: Duration) -> bool {
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    let mut asked = [PollFd::new(stream, flags)];
    let answered = poll(&mut asked, Some(&time));
    let [asked] = asked;
    answered.is_ok() && !asked.revents().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_never_gets_the_server_s_port() {
        let mut ports = ClientPorts {
            range: [10, 12],
            next: 10,
            server: 11,
        };
        let given: Vec<u16> = (0..4).map(|_| ports.next()).collect();
        assert_eq!(given, [10, 12, 10, 12]);
    }
}
