//! Where programs are attached in the kernel: every hook, what it needs, and what is
//! given up without it.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A tracepoint with typed arguments.
    TpBtf,
    /// A tracepoint of the `syscalls` category.
    Syscall,
    /// An iterator: loaded, run on demand.
    Iter,
    /// The entry of a function of the kernel.
    Fentry,
    /// The return of a function of the kernel.
    Fexit,
}

impl Kind {
    /// As it is called in the header of a recording.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Syscall => "tracepoint",
            Self::Iter => "iter",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
        }
    }
}

/// What a hook's absence means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing can be watched without it.
    Always,
    /// Its group is off without it; see [`functions`](super::functions).
    Group,
    /// Only what it shows is missing.
    Optional,
}

/// The arguments of a hooked function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// Of a tracepoint: the kernel's types describe them.
    Typed,
    /// The number for which their order is known.
    Known(usize),
    /// The number differs between kernels, and is handed to the kernel program.
    Counted,
}

/// A line of the table.
struct Entry {
    hook: Hook,
    kind: Kind,
    need: Need,
    arguments: Arguments,
    name: &'static str,
    program: &'static str,
    lack: &'static str,
}

macro_rules! hooks {
    ($($hook:ident, $kind:ident, $need:ident, $arguments:expr, $name:literal, $program:literal, $lack:expr;)*) => {
        /// A hook.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Hook {
            $(
                #[doc = concat!("`", $program, "` at `", $name, "`.")]
                $hook,
            )*
        }

        const TABLE: &[Entry] = &[$(
            Entry {
                hook: Hook::$hook,
                kind: Kind::$kind,
                need: Need::$need,
                arguments: $arguments,
                name: $name,
                program: $program,
                lack: $lack,
            },
        )*];
    };
}

const NO_BINDS: &str = "failed binds are neither shown nor explained";
const NO_LISTENS: &str = "failed listens are neither shown nor explained";
const NO_CONNECTS: &str = "failed connects are shown only as state changes";
const NO_ACCEPTS: &str = "a connection taken by a worker is attributed to the process that listens";
const NO_END: &str = "the end of a TIME_WAIT is looked for, and known to a second";
const NO_REASON: &str = "why a TIME_WAIT ended is concluded, not seen";
const NO_CONFLICT: &str =
    "the socket that a failed bind tripped over is not marked among its holders";
const TRACEPOINTS: &str = "system call tracepoints do it";
const NO_MPTCP: &str = "calls on MPTCP sockets are not shown";
const NO_REFUSALS: &str = "calls that a security module refuses are not shown";
const NO_IO_URING: &str = "calls through io_uring are taken for system calls";

use Arguments::{Counted, Known, Typed};

hooks! {
    InetSockSetState, TpBtf, Always, Typed, "inet_sock_set_state", "inet_sock_set_state",
        "nothing can be watched";
    TcpSendReset, TpBtf, Optional, Typed, "tcp_send_reset", "tcp_send_reset",
        "resets that this host sends are not shown";
    TcpReceiveReset, TpBtf, Optional, Typed, "tcp_receive_reset", "tcp_receive_reset",
        "resets that arrive are not shown; the states they end are";
    SysExitBind, Syscall, Optional, Typed, "sys_exit_bind", "sys_exit_call", NO_BINDS;
    SysEnterBind, Syscall, Optional, Typed, "sys_enter_bind", "sys_enter_bind", NO_BINDS;
    SysExitListen, Syscall, Optional, Typed, "sys_exit_listen", "sys_exit_call", NO_LISTENS;
    SysEnterListen, Syscall, Optional, Typed, "sys_enter_listen", "sys_enter_listen", NO_LISTENS;
    SysExitConnect, Syscall, Optional, Typed, "sys_exit_connect", "sys_exit_call", NO_CONNECTS;
    SysEnterConnect, Syscall, Optional, Typed, "sys_enter_connect", "sys_enter_connect",
        NO_CONNECTS;
    SysExitAccept, Syscall, Optional, Typed, "sys_exit_accept", "sys_exit_accept", NO_ACCEPTS;
    SysExitAccept4, Syscall, Optional, Typed, "sys_exit_accept4", "sys_exit_accept", NO_ACCEPTS;
    IoUringComplete, TpBtf, Optional, Typed, "io_uring_complete", "io_uring_complete",
        "binds and listens that fail are not seen where a program makes them through io_uring";
    IterTcp, Iter, Optional, Typed, "iter/tcp", "iter_tcp",
        "sockets from before the start are read through sock_diag, without their SO_REUSEADDR";
    IterTaskFile, Iter, Optional, Typed, "iter/task_file", "iter_task_file",
        "who has a socket open is looked for in /proc, which takes a hundred times as long";

    InetTwskKill, Fentry, Group, Known(1), "inet_twsk_kill", "inet_twsk_kill", NO_END;
    InetTwskSchedule, Fentry, Group, Known(3), "__inet_twsk_schedule", "__inet_twsk_schedule",
        NO_END;
    InetTwskAlloc, Fexit, Group, Counted, "inet_twsk_alloc", "inet_twsk_alloc", NO_END;
    TwTimerHandler, Fentry, Optional, Known(1), "tw_timer_handler", "tw_timer_handler", NO_REASON;
    TcpTimewaitStateProcess, Fexit, Optional, Counted, "tcp_timewait_state_process",
        "tcp_timewait_state_process", NO_REASON;
    TcpTwskUnique, Fexit, Optional, Counted, "tcp_twsk_unique", "tcp_twsk_unique", NO_REASON;

    InetBindWaker, Fexit, Group, Known(3), "inet_bind", "inet_bind_waker", NO_BINDS;
    InetBindSecond, Fexit, Group, Known(3), "inet_bind", "inet_bind_second", NO_BINDS;
    Inet6BindWaker, Fexit, Group, Known(3), "inet6_bind", "inet6_bind_waker", NO_BINDS;
    Inet6BindSecond, Fexit, Group, Known(3), "inet6_bind", "inet6_bind_second", NO_BINDS;
    InetListenWaker, Fexit, Group, Known(2), "inet_listen", "inet_listen_waker", NO_LISTENS;
    InetListenSecond, Fexit, Group, Known(2), "inet_listen", "inet_listen_second", NO_LISTENS;
    InetBind, Fexit, Group, Known(3), "inet_bind", "inet_bind", TRACEPOINTS;
    Inet6Bind, Fexit, Group, Known(3), "inet6_bind", "inet6_bind", TRACEPOINTS;
    InetListen, Fexit, Group, Known(2), "inet_listen", "inet_listen", TRACEPOINTS;
    IoBindEntry, Fentry, Optional, Known(2), "io_bind", "io_bind_entry", NO_IO_URING;
    IoBindExit, Fexit, Optional, Known(2), "io_bind", "io_bind_exit", NO_IO_URING;
    IoListenEntry, Fentry, Optional, Known(2), "io_listen", "io_listen_entry", NO_IO_URING;
    IoListenExit, Fexit, Optional, Known(2), "io_listen", "io_listen_exit", NO_IO_URING;
    InetBindSk, Fexit, Optional, Known(3), "inet_bind_sk", "inet_bind_sk", NO_MPTCP;
    Inet6BindSk, Fexit, Optional, Known(3), "inet6_bind_sk", "inet6_bind_sk", NO_MPTCP;
    InetListenSk, Fexit, Optional, Known(2), "__inet_listen_sk", "__inet_listen_sk", NO_MPTCP;
    SecuritySocketBind, Fexit, Optional, Known(3), "security_socket_bind", "security_socket_bind",
        NO_REFUSALS;
    SecuritySocketListen, Fexit, Optional, Known(2), "security_socket_listen",
        "security_socket_listen", NO_REFUSALS;
    InetBindConflict, Fexit, Optional, Counted, "inet_bind_conflict", "inet_bind_conflict",
        NO_CONFLICT;
    InetRcvSaddrEqual, Fexit, Optional, Counted, "inet_rcv_saddr_equal", "inet_rcv_saddr_equal",
        NO_CONFLICT;

    InetStreamConnectWaker, Fexit, Group, Known(4), "inet_stream_connect",
        "inet_stream_connect_waker", NO_CONNECTS;
    InetStreamConnectSecond, Fexit, Group, Known(4), "inet_stream_connect",
        "inet_stream_connect_second", NO_CONNECTS;
    InetStreamConnect, Fexit, Group, Known(4), "inet_stream_connect", "inet_stream_connect",
        TRACEPOINTS;
    IoConnectEntry, Fentry, Optional, Known(2), "io_connect", "io_connect_entry", NO_IO_URING;
    IoConnectExit, Fexit, Optional, Known(2), "io_connect", "io_connect_exit", NO_IO_URING;
    MptcpStreamConnect, Fexit, Optional, Known(4), "mptcp_stream_connect", "mptcp_stream_connect",
        NO_MPTCP;
    SecuritySocketConnect, Fexit, Optional, Known(3), "security_socket_connect",
        "security_socket_connect", NO_REFUSALS;

    InetCskAccept, Fexit, Group, Counted, "inet_csk_accept", "inet_csk_accept", TRACEPOINTS;
    IoAcceptEntry, Fentry, Optional, Known(2), "io_accept", "io_accept_entry", NO_IO_URING;
    IoAcceptExit, Fexit, Optional, Known(2), "io_accept", "io_accept_exit", NO_IO_URING;
}

impl Hook {
    fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// Name of the tracepoint or of the kernel's function.
    pub(super) fn name(self) -> &'static str {
        self.entry().name
    }

    /// What it is called where hooks are listed: several can be at one function.
    pub(super) fn label(self) -> &'static str {
        if self.is_trailing() {
            self.program()
        } else {
            self.name()
        }
    }

    pub(super) fn kind(self) -> Kind {
        self.entry().kind
    }

    pub(super) fn need(self) -> Need {
        self.entry().need
    }

    pub(super) fn arguments(self) -> Arguments {
        self.entry().arguments
    }

    /// The function in the object; several tracepoints can share one.
    pub(super) fn program(self) -> &'static str {
        self.entry().program
    }

    /// Whether it is on a function of the kernel.
    pub(super) fn is_function(self) -> bool {
        matches!(self.kind(), Kind::Fentry | Kind::Fexit)
    }

    /// The entry of a system call.
    pub(super) fn is_entry(self) -> bool {
        matches!(
            self,
            Self::SysEnterBind | Self::SysEnterListen | Self::SysEnterConnect
        )
    }

    /// Whether it reports a `bind` or `listen` that a system call makes, and is no function
    /// hook.
    pub(super) fn is_about_binds(self) -> bool {
        matches!(
            self,
            Self::SysExitBind | Self::SysEnterBind | Self::SysExitListen | Self::SysEnterListen
        )
    }

    /// Whether it runs after another hook of the same function, before which it is
    /// attached.
    fn is_trailing(self) -> bool {
        matches!(
            self,
            Self::InetBindWaker
                | Self::InetBindSecond
                | Self::Inet6BindWaker
                | Self::Inet6BindSecond
                | Self::InetListenWaker
                | Self::InetListenSecond
                | Self::InetStreamConnectWaker
                | Self::InetStreamConnectSecond
        )
    }
}

/// Whether a program runs after another one at the same function.
pub(super) fn is_trailing(program: &str) -> bool {
    TABLE
        .iter()
        .any(|entry| entry.program == program && entry.hook.is_trailing())
}

/// What is given up without the hook that is listed under this name.
pub(super) fn lack(label: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|entry| entry.hook.label() == label)
        .map(|entry| entry.lack)
}

/// Every hook that is not on a function. A call's return comes before its entry, so that
/// no entry is stored that nobody collects.
pub(super) fn tracepoints() -> impl Iterator<Item = Hook> + Clone {
    TABLE
        .iter()
        .map(|entry| entry.hook)
        .filter(|hook| !hook.is_function())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Ability;

    #[test]
    fn the_table_is_in_the_order_of_the_hooks() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.hook as usize, index, "{:?}", entry.hook);
        }
    }

    #[test]
    fn what_an_ability_rests_on_is_hooked_and_its_group_needs_it() {
        for name in Ability::MiniSockets.hooks() {
            let entry = TABLE.iter().find(|entry| entry.name == *name);
            assert_eq!(entry.map(|entry| entry.need), Some(Need::Group), "{name}");
        }
    }
}
