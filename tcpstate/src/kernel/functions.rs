//! Function hooks (fentry, fexit), in groups: each group does the work of some
//! tracepoints, or of looking again and again, and where the kernel refuses one
//! that the group rests on, those do it.

pub(super) mod attach;

use super::hook::Hook;

/// A hook on a function.
struct Function {
    hook: Hook,
    /// Without it the group is off.
    is_required: bool,
    /// The number of arguments for which their order is known; `None`: the
    /// kernel program is told the number.
    args: Option<usize>,
}

/// Function hooks that do one job together.
struct Group {
    functions: &'static [Function],
    /// Names of the hooks that are left out while the group is on.
    replaces: &'static [&'static str],
}

/// What becomes of a mini-socket: exact instead of looked for.
const MINI_SOCKETS: Group = Group {
    functions: &[
        required(Hook::Fentry("inet_twsk_kill"), 1),
        required(Hook::Fentry("__inet_twsk_schedule"), 3),
        Function {
            hook: Hook::Fexit("inet_twsk_alloc"),
            is_required: true,
            args: None,
        },
        optional(Hook::Fentry("tw_timer_handler"), 1),
        counted(Hook::Fexit("tcp_timewait_state_process")),
        counted(Hook::Fexit("tcp_twsk_unique")),
    ],
    replaces: &[],
};

/// `bind` and `listen`, whoever makes them, and the socket that they trip over.
const BIND_AND_LISTEN: Group = Group {
    functions: &[
        behind("inet_bind", "inet_bind_waker", 3),
        behind("inet_bind", "inet_bind_second", 3),
        behind("inet6_bind", "inet6_bind_waker", 3),
        behind("inet6_bind", "inet6_bind_second", 3),
        behind("inet_listen", "inet_listen_waker", 2),
        behind("inet_listen", "inet_listen_second", 2),
        required(Hook::Fexit("inet_bind"), 3),
        required(Hook::Fexit("inet6_bind"), 3),
        required(Hook::Fexit("inet_listen"), 2),
        optional(around("io_bind", "io_bind_entry"), 2),
        optional(around_exit("io_bind", "io_bind_exit"), 2),
        optional(around("io_listen", "io_listen_entry"), 2),
        optional(around_exit("io_listen", "io_listen_exit"), 2),
        optional(Hook::Fexit("inet_bind_sk"), 3),
        optional(Hook::Fexit("inet6_bind_sk"), 3),
        optional(Hook::Fexit("__inet_listen_sk"), 2),
        optional(Hook::Fexit("security_socket_bind"), 3),
        optional(Hook::Fexit("security_socket_listen"), 2),
        counted(Hook::Fexit("inet_bind_conflict")),
        counted(Hook::Fexit("inet_rcv_saddr_equal")),
    ],
    replaces: &[
        "sys_exit_bind",
        "sys_enter_bind",
        "sys_exit_listen",
        "sys_enter_listen",
        "io_uring_complete",
    ],
};

/// `connect`.
const CONNECT: Group = Group {
    functions: &[
        behind("inet_stream_connect", "inet_stream_connect_waker", 4),
        behind("inet_stream_connect", "inet_stream_connect_second", 4),
        required(Hook::Fexit("inet_stream_connect"), 4),
        optional(around("io_connect", "io_connect_entry"), 2),
        optional(around_exit("io_connect", "io_connect_exit"), 2),
        optional(Hook::Fexit("mptcp_stream_connect"), 4),
        optional(Hook::Fexit("security_socket_connect"), 3),
    ],
    replaces: &["sys_exit_connect", "sys_enter_connect"],
};

/// `accept`.
const ACCEPT: Group = Group {
    functions: &[
        Function {
            hook: Hook::Fexit("inet_csk_accept"),
            is_required: true,
            args: None,
        },
        optional(around("io_accept", "io_accept_entry"), 2),
        optional(around_exit("io_accept", "io_accept_exit"), 2),
    ],
    replaces: &["sys_exit_accept", "sys_exit_accept4"],
};

/// Every group.
const GROUPS: [&Group; 4] = [&MINI_SOCKETS, &BIND_AND_LISTEN, &CONNECT, &ACCEPT];

impl Group {
    /// Whether the kernel program makes no search of its own for a fresh
    /// mini-socket while the group is on.
    fn is_about_minis(&self) -> bool {
        self.has("inet_twsk_alloc")
    }

    /// Whether it hooks this function.
    fn has(&self, name: &str) -> bool {
        self.functions
            .iter()
            .any(|function| function.hook.name() == name)
    }
}

/// Hooks without which nobody knows why a mini-socket ended.
const REASONS: [&str; 3] = [
    "tw_timer_handler",
    "tcp_timewait_state_process",
    "tcp_twsk_unique",
];

const fn required(hook: Hook, args: usize) -> Function {
    Function {
        hook,
        is_required: true,
        args: Some(args),
    }
}

/// Stands behind another hook of the function, and is attached before it.
const fn behind(function: &'static str, program: &'static str, args: usize) -> Function {
    required(around_exit(function, program), args)
}

/// Whether a program stands behind another one at the same function.
pub(super) fn is_behind(program: &str) -> bool {
    program.ends_with("_second") || program.ends_with("_waker")
}

const fn optional(hook: Hook, args: usize) -> Function {
    Function {
        hook,
        is_required: false,
        args: Some(args),
    }
}

/// The number of arguments differs, and the kernel program knows it.
const fn counted(hook: Hook) -> Function {
    Function {
        hook,
        is_required: false,
        args: None,
    }
}

const fn around(function: &'static str, program: &'static str) -> Hook {
    Hook::Around {
        function,
        program,
        is_return: false,
    }
}

const fn around_exit(function: &'static str, program: &'static str) -> Hook {
    Hook::Around {
        function,
        program,
        is_return: true,
    }
}

/// All functions that are hooked, each once.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = GROUPS
        .into_iter()
        .flat_map(|group| group.functions)
        .map(|function| function.hook.name())
        .collect();
    names.dedup();
    names
}
