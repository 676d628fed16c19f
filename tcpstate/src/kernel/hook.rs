//! Where programs are attached in the kernel.

use tcpstate_common::offsets::Offsets;

use super::{functions, offsets};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// A tracepoint with typed arguments.
    TpBtf(&'static str),
    /// A tracepoint of the `syscalls` category.
    Syscall {
        /// Name of the tracepoint.
        name: &'static str,
        /// The function in the object; several tracepoints can share one.
        program: &'static str,
    },
    /// An iterator: loaded, run on demand.
    Iter(&'static str),
    /// The entry of a function of the kernel.
    Fentry(&'static str),
    /// The return of a function of the kernel.
    Fexit(&'static str),
    /// One of two hooks around a function.
    Around {
        /// Name of the kernel's function.
        function: &'static str,
        /// The function in the object.
        program: &'static str,
        /// At the function's return, or at its entry.
        is_return: bool,
    },
}

impl Hook {
    /// What it is called where hooks are listed: several can be at one function.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Around { program, .. } if functions::is_behind(program) => program,
            _ => self.name(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TpBtf(name)
            | Self::Syscall { name, .. }
            | Self::Fentry(name)
            | Self::Fexit(name)
            | Self::Around { function: name, .. } => name,
            Self::Iter(DESCRIPTORS) => "iter/task_file",
            Self::Iter(_) => "iter/tcp",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::TpBtf(_) => "tp_btf",
            Self::Syscall { .. } => "tracepoint",
            Self::Iter(_) => "iter",
            Self::Fentry(_)
            | Self::Around {
                is_return: false, ..
            } => "fentry",
            Self::Fexit(_) | Self::Around { .. } => "fexit",
        }
    }

    /// The function in the object.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::TpBtf(program)
            | Self::Syscall { program, .. }
            | Self::Fentry(program)
            | Self::Fexit(program)
            | Self::Around { program, .. } => program,
            Self::Iter(DESCRIPTORS) => "iter_task_file",
            Self::Iter(_) => "iter_tcp",
        }
    }

    /// Binds and listens that no system call of that name makes.
    pub(super) fn is_io_uring(self) -> bool {
        self.name() == "io_uring_complete"
    }

    /// The entry of a system call.
    pub(super) fn is_entry(self) -> bool {
        self.name().starts_with("sys_enter_")
    }

    pub(super) fn missing(self, offsets: &Offsets) -> Option<&'static str> {
        let sockets = offsets::missing_for_sockets(offsets);
        match self {
            Self::Syscall { .. } => sockets.or_else(|| offsets::missing_for_descriptors(offsets)),
            _ if self.is_io_uring() => sockets.or_else(|| offsets::missing_for_io_uring(offsets)),
            Self::Fentry(name) | Self::Fexit(name) | Self::Around { function: name, .. } => {
                sockets.or_else(|| offsets::missing_for_function(offsets, name))
            }
            Self::Iter(DESCRIPTORS) => offsets::missing_for_open_sockets(offsets),
            Self::TpBtf(_) | Self::Iter(_) => sockets,
        }
    }
}

/// What the iterator of all descriptors is called.
const DESCRIPTORS: &str = "task_file";

/// The hook that everything rests on.
pub(super) const REQUIRED: Hook = Hook::TpBtf("inet_sock_set_state");

/// Every hook. A call's return comes before its entry, so that no entry is
/// remembered that nobody collects.
pub(super) const HOOKS: [Hook; 14] = [
    REQUIRED,
    Hook::TpBtf("tcp_send_reset"),
    Hook::TpBtf("tcp_receive_reset"),
    syscall("sys_exit_bind", "sys_exit_call"),
    syscall("sys_enter_bind", "sys_enter_bind"),
    syscall("sys_exit_listen", "sys_exit_call"),
    syscall("sys_enter_listen", "sys_enter_listen"),
    syscall("sys_exit_connect", "sys_exit_call"),
    syscall("sys_enter_connect", "sys_enter_connect"),
    syscall("sys_exit_accept", "sys_exit_accept"),
    syscall("sys_exit_accept4", "sys_exit_accept"),
    Hook::TpBtf("io_uring_complete"),
    Hook::Iter("tcp"),
    Hook::Iter(DESCRIPTORS),
];

const fn syscall(name: &'static str, program: &'static str) -> Hook {
    Hook::Syscall { name, program }
}
