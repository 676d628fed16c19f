//! Socket options that have no safe wrapper among our dependencies, and users.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::Uid;
use tcpstate::demo::namespace;

/// `SO_REUSEADDR` and `SO_REUSEPORT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags {
    pub(crate) reuseaddr: bool,
    pub(crate) reuseport: bool,
}

impl Flags {
    pub(crate) const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(true, false),
        Self::new(false, true),
        Self::new(true, true),
    ];

    pub(crate) const fn new(reuseaddr: bool, reuseport: bool) -> Self {
        Self {
            reuseaddr,
            reuseport,
        }
    }

    pub(crate) fn set_on(self, socket: &OwnedFd) {
        use rustix::net::sockopt;
        sockopt::set_socket_reuseaddr(socket, self.reuseaddr).expect("the socket is open");
        sockopt::set_socket_reuseport(socket, self.reuseport).expect("the socket is open");
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.reuseaddr, self.reuseport) {
            (false, false) => "plain",
            (true, false) => "reuseaddr",
            (false, true) => "reuseport",
            (true, true) => "reuseaddr+reuseport",
        })
    }
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum User {
    Root,
    Other,
}

impl User {
    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Other => 1000,
        }
    }

    /// Does something as this user. Only this thread's effective user changes.
    pub(crate) fn act<T>(self, act: impl FnOnce() -> T) -> T {
        if self == Self::Root {
            return act();
        }
        become_user(self.uid());
        let result = act();
        become_user(0);
        result
    }
}

fn become_user(uid: u32) {
    rustix::thread::set_thread_res_uid(None, Uid::from_raw(uid), None)
        .expect("root may become anybody, and back");
}

/// Interface of `SO_BINDTODEVICE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Device {
    None,
    Lo,
    Other,
}

impl Device {
    /// The name of the interface that [`Device::Other`] stands for.
    pub(crate) const OTHER: &str = "other0";

    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Lo => Some("lo"),
            Self::Other => Some(Self::OTHER),
        }
    }

    pub(crate) fn set_on(self, socket: &OwnedFd) {
        let Some(name) = self.name() else {
            return;
        };
        set(
            socket,
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_bytes(),
        )
        .expect("the interface is there");
    }
}

/// `IP_LOCAL_PORT_RANGE` (Linux 6.3).
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// Leaves `connect` no other ports to choose from: this socket's, or, on older
/// kernels, those of the whole namespace until the next socket is made.
pub(crate) fn set_local_ports(socket: &OwnedFd, first: u16, last: u16) {
    match set_range(socket, first, last) {
        Err(Errno::NOPROTOOPT) => {
            namespace::set_local_port_range(first, last).expect("the namespace is ours");
        }
        result => result.expect("the range is within the namespace's"),
    }
}

/// Whether a socket can have a range of its own.
pub(crate) fn sockets_have_ranges() -> bool {
    static HAVE: OnceLock<bool> = OnceLock::new();
    *HAVE.get_or_init(|| {
        let socket = support::socket(super::address::Addr::Lo1.at(0));
        set_range(&socket, 0, 0).is_ok()
    })
}

/// Gives the namespace all ports to choose from again, if it had to do with less.
pub(crate) fn give_local_ports_back() {
    if !sockets_have_ranges() {
        let (first, last) = super::LOCAL_PORTS;
        namespace::set_local_port_range(first, last).expect("the namespace is ours");
    }
}

fn set_range(socket: &OwnedFd, first: u16, last: u16) -> Result<(), Errno> {
    let range = u32::from(first) | u32::from(last) << 16;
    let (level, option) = (libc::SOL_IP, IP_LOCAL_PORT_RANGE);
    set(socket, level, option, &range.to_ne_bytes())
}

/// `tcpi_state`: the first byte of `TCP_INFO`.
pub(crate) fn state(socket: &OwnedFd) -> u8 {
    let mut state = [0_u8; 1];
    let mut len = 1;
    // SAFETY: both buffers outlive the call and are as long as it says.
    #[expect(unsafe_code, reason = "getsockopt(2) has no safe wrapper for TCP_INFO")]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            state.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    assert_eq!(result, 0, "TCP_INFO of an open socket");
    state[0]
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
    let len = libc::socklen_t::try_from(value.len()).expect("options are short");
    // SAFETY: the buffer outlives the call and is as long as it says.
    #[expect(
        unsafe_code,
        reason = "setsockopt(2) has no safe wrapper for these options"
    )]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            len,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).expect("setsockopt failed"))
}
