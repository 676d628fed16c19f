//! How one sees that the server serves.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::client::{Client, ClientPorts, Connection};
use super::port_sockets::{PortSockets, reach};
use super::server::Server;
use crate::cli::Ready;
use crate::supervise::tree;

/// Bytes of an answer's first line.
const STATUS_LINE: usize = 16;

/// Looks again and again.
#[derive(Debug)]
pub(super) struct Readiness<'a> {
    how: &'a Ready,
    request: Option<HttpRequest>,
}

/// A request under way.
#[derive(Debug)]
struct HttpRequest {
    client: Client,
    is_sent: bool,
    answer: Vec<u8>,
}

impl<'a> Readiness<'a> {
    pub(super) fn new(how: &'a Ready) -> Self {
        Self { how, request: None }
    }

    /// Where the listener of this start's processes is reached; `None`: there is none.
    pub(super) fn listens(
        server: &Server<'_>,
        port_sockets: &mut PortSockets,
    ) -> Result<Option<SocketAddr>> {
        let open = tree::open_sockets_of(&server.processes());
        let listeners = port_sockets.listeners(&open)?;
        Ok(listeners.first().map(reach))
    }

    /// Whether it serves, besides listening at `addr`.
    pub(super) fn is_ready(
        &mut self,
        server: &Server<'_>,
        addr: SocketAddr,
        ports: &mut ClientPorts,
    ) -> Result<bool> {
        match self.how {
            Ready::Listen => Ok(true),
            Ready::Stdout(_) => Ok(server.has_printed_pattern()),
            Ready::Http(path) => self.has_answered(path, addr, ports),
        }
    }

    fn has_answered(
        &mut self,
        path: &str,
        addr: SocketAddr,
        ports: &mut ClientPorts,
    ) -> Result<bool> {
        let mut request = match self.request.take() {
            Some(request) => request,
            None => HttpRequest {
                client: Client::begin(addr, ports)?,
                is_sent: false,
                answer: Vec::new(),
            },
        };
        match request.advance(path, addr) {
            HttpAnswer::Waits => self.request = Some(request),
            // It leaves nothing behind on the port.
            HttpAnswer::Good => {
                request.client.abort();
                return Ok(true);
            }
            HttpAnswer::Bad => request.client.abort(),
        }
        Ok(false)
    }
}

enum HttpAnswer {
    Waits,
    Good,
    Bad,
}

impl HttpRequest {
    fn advance(&mut self, path: &str, addr: SocketAddr) -> HttpAnswer {
        if self.client.state == Connection::Connecting {
            self.client.connect(Duration::ZERO);
        }
        match self.client.state {
            Connection::Connecting => return HttpAnswer::Waits,
            Connection::Open => {}
            _ => return HttpAnswer::Bad,
        }
        if !self.is_sent {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: tcpstate\r\nAccept: */*\r\n\r\n"
            );
            if self.client.send(request.as_bytes()).is_err() {
                return HttpAnswer::Bad;
            }
            self.is_sent = true;
        }
        self.client.read_into(&mut self.answer, STATUS_LINE);
        let has_more = self.client.state == Connection::Open;
        match is_good(&self.answer) {
            Some(true) => HttpAnswer::Good,
            None if has_more => HttpAnswer::Waits,
            Some(false) | None => HttpAnswer::Bad,
        }
    }
}

/// Whether an answer's first line has a status of 200 to 399; `None`: it is not there yet.
fn is_good(answer: &[u8]) -> Option<bool> {
    let status = answer.get(9..12)?;
    let is_http = answer.starts_with(b"HTTP/1.") && answer.get(8) == Some(&b' ');
    Some(is_http && matches!(status, [b'2' | b'3', b'0'..=b'9', b'0'..=b'9']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_by_its_status() {
        assert_eq!(is_good(b"HTTP/1.1 20"), None);
        assert_eq!(is_good(b"HTTP/1.0 200 OK"), Some(true));
        assert_eq!(is_good(b"HTTP/1.1 302 Found"), Some(true));
        assert_eq!(is_good(b"HTTP/1.1 503 No"), Some(false));
        assert_eq!(is_good(b"SSH-2.0-OpenSSH_9"), Some(false));
    }
}
