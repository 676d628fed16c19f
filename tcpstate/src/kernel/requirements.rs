//! What a hook or a feature cannot do without, held against what the running kernel has.

use tcpstate_common::offsets::{MISSING, Offsets};

use super::hook::{Hook, Kind};

/// What a hook cannot do without and this kernel does not have.
pub(super) fn missing_for(hook: Hook, offsets: &Offsets) -> Option<&'static str> {
    if hook == Hook::IterTaskFile {
        return missing_for_open_sockets(offsets);
    }
    missing_for_sockets(offsets).or_else(|| match hook.kind() {
        Kind::Syscall => missing_for_descriptors(offsets),
        Kind::Fentry | Kind::Fexit => missing_for_function(hook, offsets),
        Kind::TpBtf if hook == Hook::IoUringComplete => missing_for_io_uring(offsets),
        Kind::TpBtf | Kind::Iter => None,
    })
}

/// Where a function hook's result is, or what else it cannot do without.
fn missing_for_function(hook: Hook, offsets: &Offsets) -> Option<&'static str> {
    match hook {
        Hook::TwTimerHandler => first_missing([(offsets.tw_timer, "inet_timewait_sock.tw_timer")]),
        Hook::InetTwskAlloc => first_missing([(offsets.twsk_alloc_args, hook.name())]),
        Hook::TcpTwskUnique => first_missing([(offsets.twsk_unique_args, hook.name())]),
        Hook::InetBindConflict => first_missing([(offsets.bind_conflict_args, hook.name())]),
        Hook::InetRcvSaddrEqual => first_missing([(offsets.saddr_equal_args, hook.name())]),
        Hook::InetCskAccept => first_missing([(offsets.accept_args, hook.name())]),
        Hook::InetBind
        | Hook::InetBindSecond
        | Hook::InetBindWaker
        | Hook::Inet6Bind
        | Hook::Inet6BindSecond
        | Hook::Inet6BindWaker
        | Hook::InetListen
        | Hook::InetListenSecond
        | Hook::InetListenWaker
        | Hook::InetStreamConnect
        | Hook::InetStreamConnectSecond
        | Hook::InetStreamConnectWaker
        | Hook::MptcpStreamConnect => first_missing([(offsets.socket_sk, "socket.sk")]),
        Hook::TcpTimewaitStateProcess => first_missing([
            (offsets.tw_state_process_args, hook.name()),
            (offsets.tw_status_syn, "TCP_TW_SYN"),
        ]),
        Hook::InetTwskKill | Hook::InetTwskSchedule => first_missing([
            (offsets.tw_substate, "inet_timewait_sock.tw_substate"),
            (offsets.tw_expires, "inet_timewait_sock.tw_timer"),
        ]),
        _ => None,
    }
}

/// What a call's return cannot do without to know the arguments.
pub(super) fn missing_for_arguments(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.regs_first, "pt_regs (first argument)"),
        (offsets.regs_second, "pt_regs (second argument)"),
        (offsets.regs_third, "pt_regs (third argument)"),
        (offsets.number_of_bind, "bind"),
        (offsets.number_of_listen, "listen"),
        (offsets.number_of_connect, "connect"),
    ])
}

/// What the walk over the bind bucket cannot do without.
pub(super) fn missing_for_walk(offsets: &Offsets) -> Option<&'static str> {
    let fields = [
        (offsets.net_death_row, "net.ipv4.tcp_death_row"),
        (offsets.net_hash_mix, "net.hash_mix"),
        (
            offsets.death_row_hashinfo,
            "inet_timewait_death_row.hashinfo",
        ),
        (offsets.hashinfo_bhash, "inet_hashinfo.bhash"),
        (offsets.hashinfo_bhash_size, "inet_hashinfo.bhash_size"),
        (offsets.hashbucket_size, "inet_bind_hashbucket"),
        (offsets.hashbucket_chain, "inet_bind_hashbucket.chain"),
        (offsets.tb_net, "inet_bind_bucket.ib_net"),
        (offsets.tb_port, "inet_bind_bucket.port"),
        (offsets.tb_node, "inet_bind_bucket.node"),
        (offsets.skc_bind_node, "sock_common.skc_bind_node"),
        (offsets.tw_substate, "inet_timewait_sock.tw_substate"),
        (offsets.tw_expires, "inet_timewait_sock.tw_timer"),
    ];
    let lists = if offsets.tb_bhash2 == MISSING {
        [(offsets.tb_owners, "inet_bind_bucket.owners"); 2]
    } else {
        [
            (offsets.tb2_bhash_node, "inet_bind2_bucket.bhash_node"),
            (offsets.tb2_owners, "inet_bind2_bucket.owners"),
        ]
    };
    first_missing(fields.into_iter().chain(lists))
}

/// What every hook that reads a socket cannot do without.
fn missing_for_sockets(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.skc_reuse.offset, "sock_common.skc_reuse"),
        (offsets.skc_reuseport.offset, "sock_common.skc_reuseport"),
        (offsets.skc_daddr, "sock_common.skc_daddr"),
        (offsets.skc_rcv_saddr, "sock_common.skc_rcv_saddr"),
        (offsets.skc_dport, "sock_common.skc_dport"),
        (offsets.skc_num, "sock_common.skc_num"),
        (offsets.skc_family, "sock_common.skc_family"),
        (offsets.skc_state, "sock_common.skc_state"),
        (offsets.skc_bound_dev_if, "sock_common.skc_bound_dev_if"),
        (offsets.skc_net, "sock_common.skc_net"),
        (offsets.skc_cookie, "sock_common.skc_cookie"),
        (offsets.skc_flags, "sock_common.skc_flags"),
        (offsets.sk_protocol, "sock.sk_protocol"),
        (offsets.sk_err, "sock.sk_err"),
        (offsets.inet_sport, "inet_sock.inet_sport"),
        (offsets.net_inum, "net.ns.inum"),
    ])
}

/// What it takes to see a bind through `io_uring`. Where the kernel has no such
/// bind, nothing is amiss; see [`offsets::has_io_uring_bind`](super::offsets::has_io_uring_bind).
fn missing_for_io_uring(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.io_kiocb_opcode, "io_kiocb.opcode"),
        (offsets.io_kiocb_file, "io_kiocb.file"),
        (offsets.io_kiocb_async_data, "io_kiocb.async_data"),
        (offsets.io_async_msghdr_addr, "io_async_msghdr.addr"),
        (
            offsets.io_uring_complete_args,
            "btf_trace_io_uring_complete",
        ),
    ])
}

/// Why a reset that no full socket sends is invisible; `None`: it is not.
///
/// The reason came together with these resets (Linux 6.10): before, an RST for a
/// closed port, or from a TIME_WAIT, passed no tracepoint.
pub(super) fn missing_for_stray_resets(offsets: &Offsets) -> Option<String> {
    match offsets.send_reset_args {
        MISSING => Some("this kernel has no tcp_send_reset".to_owned()),
        ..3 => Some(
            "this kernel's tcp_send_reset has no reason: it is older than Linux 6.10 and passes \
             over resets that no open socket sends"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What it takes to get from a descriptor to its socket.
fn missing_for_descriptors(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.task_files, "task_struct.files"),
        (offsets.files_fdt, "files_struct.fdt"),
        (offsets.fdt_max_fds, "fdtable.max_fds"),
        (offsets.fdt_fd, "fdtable.fd"),
        (offsets.file_private_data, "file.private_data"),
        (offsets.file_inode, "file.f_inode"),
        (offsets.inode_mode, "inode.i_mode"),
        (offsets.socket_sk, "socket.sk"),
    ])
}

/// What it takes to know which process has which socket open.
fn missing_for_open_sockets(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.task_tgid, "task_struct.tgid"),
        (offsets.file_inode, "file.f_inode"),
        (offsets.inode_mode, "inode.i_mode"),
        (offsets.inode_ino, "inode.i_ino"),
    ])
}

/// What it takes to know which process and program made a failed call.
pub(super) fn missing_for_program(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.task_group_leader, "task_struct.group_leader"),
        (offsets.task_start_boottime, "task_struct.start_boottime"),
        (offsets.task_mm, "task_struct.mm"),
        (offsets.mm_exe_file, "mm_struct.exe_file"),
        (offsets.file_inode, "file.f_inode"),
        (offsets.inode_ino, "inode.i_ino"),
        (offsets.inode_sb, "inode.i_sb"),
        (offsets.sb_dev, "super_block.s_dev"),
    ])
}

fn first_missing(fields: impl IntoIterator<Item = (u32, &'static str)>) -> Option<&'static str> {
    fields
        .into_iter()
        .find_map(|(offset, name)| (offset == MISSING).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_without_a_socket_are_said_to_be_invisible_before_linux_6_10() {
        let with_args = |send_reset_args| Offsets {
            send_reset_args,
            ..Offsets::NONE
        };

        let old = missing_for_stray_resets(&with_args(2)).unwrap();
        assert!(old.contains("older than Linux 6.10"), "{old}");
        assert!(missing_for_stray_resets(&with_args(MISSING)).is_some());
        assert_eq!(missing_for_stray_resets(&with_args(3)), None);
    }
}
