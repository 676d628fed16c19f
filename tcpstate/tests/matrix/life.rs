//! Brings a connection into each state that TCP knows, and holds it there.
//!
//! The kernel's own word (`TCP_INFO`) shows each step. What keeps a connection
//! from going on is its peer: a FIN behind data that does not fit into the
//! peer's window is not sent before the peer reads.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::options;

/// The old socket's state. `…Orphan`: no descriptor is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Bound,
    Listen,
    /// Bound at first; listens once the new socket is bound too.
    ListenLater,
    SynSent,
    Established,
    FinWait1,
    FinWait1Orphan,
    FinWait2,
    FinWait2Orphan,
    CloseWait,
    LastAck,
    LastAckOrphan,
    Closing,
    ClosingOrphan,
    TimeWait,
    /// Went through the mini-socket's FIN_WAIT_2.
    TimeWaitAged,
    /// The descriptor of the socket that it was is still open.
    TimeWaitOpen,
    /// The peer sent an RST, and the descriptor is still open.
    Reset,
}

impl State {
    /// The states of a connection.
    pub(crate) const CONNECTED: [Self; 15] = [
        Self::SynSent,
        Self::Established,
        Self::FinWait1,
        Self::FinWait1Orphan,
        Self::FinWait2,
        Self::FinWait2Orphan,
        Self::CloseWait,
        Self::LastAck,
        Self::LastAckOrphan,
        Self::Closing,
        Self::ClosingOrphan,
        Self::TimeWait,
        Self::TimeWaitAged,
        Self::TimeWaitOpen,
        Self::Reset,
    ];

    /// As the JSON names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bound | Self::Reset => "bound",
            Self::Listen | Self::ListenLater => "listen",
            Self::SynSent => "syn_sent",
            Self::Established => "established",
            Self::FinWait1 | Self::FinWait1Orphan => "fin_wait_1",
            Self::FinWait2 | Self::FinWait2Orphan => "fin_wait_2",
            Self::CloseWait => "close_wait",
            Self::LastAck | Self::LastAckOrphan => "last_ack",
            Self::Closing | Self::ClosingOrphan => "closing",
            Self::TimeWait | Self::TimeWaitAged | Self::TimeWaitOpen => "time_wait",
        }
    }

    /// The kernel keeps no more of it than a mini-socket.
    pub(crate) fn is_mini(self) -> bool {
        self == Self::FinWait2Orphan || self.name() == "time_wait"
    }
}

const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

/// Takes the connection `ours` with its `peer` to `state`; gives our
/// descriptor where the state still has one.
pub(crate) fn lead(ours: OwnedFd, peer: OwnedFd, state: State) -> (Option<OwnedFd>, Vec<OwnedFd>) {
    use State as S;

    until(&ours, ESTABLISHED);
    match state {
        S::Established => {}
        S::FinWait1 | S::FinWait1Orphan => {
            fill(&ours);
            finish(&ours, FIN_WAIT_1);
        }
        S::FinWait2 | S::FinWait2Orphan => finish(&ours, FIN_WAIT_2),
        S::CloseWait => finish_first(&peer, &ours, CLOSE_WAIT),
        S::LastAck | S::LastAckOrphan => {
            finish_first(&peer, &ours, CLOSE_WAIT);
            fill(&ours);
            finish(&ours, LAST_ACK);
        }
        S::Closing | S::ClosingOrphan => {
            fill(&ours);
            finish(&ours, FIN_WAIT_1);
            finish_first(&peer, &ours, CLOSING);
        }
        S::TimeWait | S::TimeWaitOpen => {
            finish(&ours, FIN_WAIT_2);
            finish_first(&peer, &ours, CLOSED);
        }
        S::TimeWaitAged => {
            finish(&ours, FIN_WAIT_2);
            drop(ours);
            // The peer is closed once the mini-socket has taken its FIN.
            finish_first(&peer, &peer, CLOSED);
            return (None, Vec::new());
        }
        S::Reset => {
            rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).expect("open");
            drop(peer);
            until(&ours, CLOSED);
            return (Some(ours), Vec::new());
        }
        S::Bound | S::Listen | S::ListenLater | S::SynSent => {
            unreachable!("{state:?} is no state of a connection")
        }
    }
    let is_left = matches!(
        state,
        S::FinWait1Orphan | S::FinWait2Orphan | S::LastAckOrphan | S::ClosingOrphan | S::TimeWait
    );
    ((!is_left).then_some(ours), vec![peer])
}

/// Begins a connection that nobody answers.
pub(crate) fn knock(ours: &OwnedFd, silent: std::net::SocketAddr) {
    rustix::io::ioctl_fionbio(ours, true).expect("open");
    let begun = rustix::net::connect(ours, &silent);
    assert_eq!(
        begun,
        Err(Errno::INPROGRESS),
        "the listener's queue is full"
    );
    until(ours, SYN_SENT);
}

/// Sends until the peer's window is full and our buffer, too.
fn fill(socket: &OwnedFd) {
    rustix::net::sockopt::set_socket_send_buffer_size(socket, 1).expect("open");
    loop {
        match rustix::net::send(
            socket,
            &[0; 4096],
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return,
            Err(error) => panic!("cannot fill the peer's window: {error}"),
        }
    }
}

fn finish(ours: &OwnedFd, state: u8) {
    rustix::net::shutdown(ours, Shutdown::Write).expect("it is connected");
    until(ours, state);
}

fn finish_first(peer: &OwnedFd, watched: &OwnedFd, state: u8) {
    rustix::net::shutdown(peer, Shutdown::Write).expect("it is connected");
    until(watched, state);
}

/// Waits for a state; the other end's kernel may delay its ACK.
fn until(socket: &OwnedFd, state: u8) {
    // Seconds: the machine may have other things to do.
    for _ in 0..50_000 {
        if options::state(socket) == state {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!(
        "the connection is in state {}, not in {state}",
        options::state(socket)
    );
}
