//! The page of metrics, over HTTP on a TCP port or a unix socket.
//!
//! Whoever reaches it may be anybody: connections, their headers and their time are bounded,
//! and of too many the oldest goes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::text::{Format, text};
use crate::metrics::Family;
use crate::printable::printable;

/// Connections at one time.
const MAX_CONNECTIONS: usize = 32;
/// A connection lasts this long: a scrape takes some milliseconds.
const CONNECTION_LASTS: Duration = Duration::from_secs(10);
/// The run gives its metrics within this time, or the answer is that it does not.
const RUN_ANSWERS: Duration = Duration::from_secs(2);
/// Bytes and lines of a request's head.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Asks the run for its metrics.
pub(crate) type Ask = oneshot::Sender<Vec<Family>>;

/// Where the page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address and port.
    Tcp(SocketAddr),
    /// A unix socket, for its owner and group.
    Unix(PathBuf),
}

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address to listen on; write 127.0.0.1:9101, [::1]:9101 or unix:/PATH")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", printable(&path.to_string_lossy())),
        }
    }
}

impl Address {
    /// Whether others than this host's processes can reach it.
    #[must_use]
    pub fn is_reached_from_elsewhere(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }
}

/// A bound page. Its unix socket goes with it.
#[derive(Debug)]
pub(crate) enum Page {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl Page {
    /// Listens, while it may still be done.
    pub(crate) fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                // With SO_REUSEADDR, as everybody should.
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = std::os::unix::net::UnixListener::bind(path)?;
                let page = Self::Unix(listener, path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                if let Self::Unix(listener, _) = &page {
                    listener.set_nonblocking(true)?;
                }
                Ok(page)
            }
        }
    }

    /// Answers until the run is over.
    pub(crate) async fn serve(self, run: mpsc::Sender<Ask>) -> io::Result<()> {
        let mut connections = Connections::default();
        match &self {
            Self::Tcp(listener) => {
                let listener = TcpListener::from_std(listener.try_clone()?)?;
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        connections.spawn(stream, run.clone());
                    } else {
                        pause().await;
                    }
                }
            }
            Self::Unix(listener, _) => {
                let listener = UnixListener::from_std(listener.try_clone()?)?;
                loop {
                    if let Ok((stream, _)) = listener.accept().await {
                        connections.spawn(stream, run.clone());
                    } else {
                        pause().await;
                    }
                }
            }
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

/// No descriptor is left: it does not help to ask again at once.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A socket that nobody listens on any more is in the way.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let is_stale = found.file_type().is_socket()
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_stale {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Those that are open, the oldest first.
#[derive(Debug, Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn spawn<S>(&mut self, stream: S, run: mpsc::Sender<Ask>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        let answer = service_fn(move |request| {
            let run = run.clone();
            async move { Ok::<_, Infallible>(answer(&request, &run).await) }
        });
        let connection = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), answer);
        let task = tokio::spawn(async move {
            // Who is gone, slow or no HTTP client has nothing to be told.
            let _ = timeout(CONNECTION_LASTS, connection).await;
        });
        self.0.push_back(task.abort_handle());
    }
}

async fn answer(request: &Request<Incoming>, run: &mpsc::Sender<Ask>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|accept| accept.to_str().ok());
            let format = Format::accepted(accept.unwrap_or_default());
            let Some(page) = page(run, format).await else {
                return plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the observer does not answer\n",
                );
            };
            let mut response = Response::new(Full::new(page.into()));
            let kind = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/" => plain(StatusCode::OK, "tcpstate: see /metrics\n"),
        _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    }
}

async fn page(run: &mpsc::Sender<Ask>, format: Format) -> Option<String> {
    let (ask, families) = oneshot::channel();
    run.try_send(ask).ok()?;
    let families = timeout(RUN_ANSWERS, families).await.ok()?.ok()?;
    text(families, format).ok()
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(words.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
