//! Resolves the fields that the kernel program reads. A field that the running
//! kernel does not have stays [`MISSING`], and what needs it is switched off
//! by name; nothing is ever read from a guessed place.

use std::collections::BTreeMap;

use tcpstate_common::offsets::{BitField, MISSING, Offsets, SOCK_COMMON_LEN};

use super::types::KernelTypes;

/// Where everything lies in the running kernel.
pub(super) fn resolve(types: &KernelTypes) -> Offsets {
    let at = |name: &str, path: &[&str]| byte_offset(types, name, path);
    let bits = |name: &str, path: &[&str]| bit_field(types, name, path);
    let common = |field: &str, len: u32| inside_common(at("sock_common", &[field]), len);
    let common_bits = |field: &str| {
        let found = bits("sock_common", &[field]);
        if inside_common(found.offset, 1) == MISSING {
            BitField::MISSING
        } else {
            found
        }
    };
    let death_row = types.member("net", &["ipv4", "tcp_death_row"]);
    let [regs_first, regs_second, regs_third] = arguments(types);

    Offsets {
        skc_reuse: common_bits("skc_reuse"),
        skc_reuseport: common_bits("skc_reuseport"),
        skc_ipv6only: common_bits("skc_ipv6only"),
        sk_userlocks: bits("sock", &["sk_userlocks"]),
        tw_connect_bind: bits("inet_timewait_sock", &["tw_connect_bind"]),
        tp_is_mptcp: bits("tcp_sock", &["is_mptcp"]),
        skc_daddr: common("skc_daddr", 4),
        skc_rcv_saddr: common("skc_rcv_saddr", 4),
        skc_dport: common("skc_dport", 2),
        skc_num: common("skc_num", 2),
        skc_family: common("skc_family", 2),
        skc_state: common("skc_state", 1),
        skc_bound_dev_if: common("skc_bound_dev_if", 4),
        skc_bind_node: at("sock_common", &["skc_bind_node"]),
        skc_net: common("skc_net", 8),
        skc_v6_daddr: common("skc_v6_daddr", 16),
        skc_v6_rcv_saddr: common("skc_v6_rcv_saddr", 16),
        skc_cookie: common("skc_cookie", 8),
        skc_flags: common("skc_flags", 8),
        skc_hash: common("skc_hash", 4),
        skc_nulls_node: at("sock_common", &["skc_nulls_node"]),
        sk_protocol: at("sock", &["sk_protocol"]),
        sk_err: at("sock", &["sk_err"]),
        sk_uid: at("sock", &["sk_uid"]),
        sk_socket: at("sock", &["sk_socket"]),
        inet_sport: at("inet_sock", &["inet_sport"]),
        tw_substate: at("inet_timewait_sock", &["tw_substate"]),
        tw_expires: at("inet_timewait_sock", &["tw_timer", "expires"]),
        net_inum: at("net", &["ns", "inum"]),
        net_cookie: if has_cookies_of_namespaces(types) {
            at("net", &["net_cookie"])
        } else {
            MISSING
        },
        net_hash_mix: at("net", &["hash_mix"]),
        net_death_row: at("net", &["ipv4", "tcp_death_row"]),
        net_death_row_is_pointer: death_row
            .map_or(MISSING, |member| u32::from(types.is_pointer(member))),
        net_prot_sock: at("net", &["ipv4", "sysctl_ip_prot_sock"]),
        death_row_hashinfo: at("inet_timewait_death_row", &["hashinfo"]),
        hashinfo_ehash: at("inet_hashinfo", &["ehash"]),
        hashinfo_ehash_mask: at("inet_hashinfo", &["ehash_mask"]),
        ehash_bucket_size: types.size("inet_ehash_bucket").unwrap_or(MISSING),
        hashinfo_bhash: at("inet_hashinfo", &["bhash"]),
        hashinfo_bhash_size: at("inet_hashinfo", &["bhash_size"]),
        hashbucket_size: types.size("inet_bind_hashbucket").unwrap_or(MISSING),
        hashbucket_chain: at("inet_bind_hashbucket", &["chain"]),
        tb_net: at("inet_bind_bucket", &["ib_net"]),
        tb_l3mdev: at("inet_bind_bucket", &["l3mdev"]),
        tb_port: at("inet_bind_bucket", &["port"]),
        tb_node: at("inet_bind_bucket", &["node"]),
        tb_fastreuse: at("inet_bind_bucket", &["fastreuse"]),
        tb_fastreuseport: at("inet_bind_bucket", &["fastreuseport"]),
        tb_fastuid: at("inet_bind_bucket", &["fastuid"]),
        tb_fast_v6_rcv_saddr: at("inet_bind_bucket", &["fast_v6_rcv_saddr"]),
        tb_fast_rcv_saddr: at("inet_bind_bucket", &["fast_rcv_saddr"]),
        tb_fast_sk_family: at("inet_bind_bucket", &["fast_sk_family"]),
        tb_fast_ipv6_only: at("inet_bind_bucket", &["fast_ipv6_only"]),
        tb_owners: at("inet_bind_bucket", &["owners"]),
        tb_bhash2: at("inet_bind_bucket", &["bhash2"]),
        tb2_bhash_node: at("inet_bind2_bucket", &["bhash_node"]),
        tb2_owners: at("inet_bind2_bucket", &["owners"]),
        task_flags: at("task_struct", &["flags"]),
        task_cred: at("task_struct", &["cred"]),
        cred_euid: at("cred", &["euid"]),
        task_files: at("task_struct", &["files"]),
        task_real_parent: at("task_struct", &["real_parent"]),
        task_tgid: at("task_struct", &["tgid"]),
        task_group_leader: at("task_struct", &["group_leader"]),
        task_start_boottime: at("task_struct", &["start_boottime"]),
        task_comm: at("task_struct", &["comm"]),
        task_mm: at("task_struct", &["mm"]),
        mm_arg_start: at("mm_struct", &["arg_start"]),
        mm_arg_end: at("mm_struct", &["arg_end"]),
        mm_exe_file: at("mm_struct", &["exe_file"]),
        files_fdt: at("files_struct", &["fdt"]),
        fdt_max_fds: at("fdtable", &["max_fds"]),
        fdt_fd: at("fdtable", &["fd"]),
        file_private_data: at("file", &["private_data"]),
        file_inode: at("file", &["f_inode"]),
        inode_mode: at("inode", &["i_mode"]),
        inode_ino: at("inode", &["i_ino"]),
        inode_sb: at("inode", &["i_sb"]),
        sb_dev: at("super_block", &["s_dev"]),
        socket_sk: at("socket", &["sk"]),
        socket_file: at("socket", &["file"]),
        msk_first: at("mptcp_sock", &["first"]),
        icsk_ulp_data: at("inet_connection_sock", &["icsk_ulp_data"]),
        subflow_conn: at("mptcp_subflow_context", &["conn"]),
        socket_to_inode: socket_to_inode(
            at("socket_alloc", &["socket"]),
            at("socket_alloc", &["vfs_inode"]),
        ),
        skb_head: at("sk_buff", &["head"]),
        skb_network_header: at("sk_buff", &["network_header"]),
        skb_transport_header: at("sk_buff", &["transport_header"]),
        skb_dev: at("sk_buff", &["dev"]),
        dev_net: at("net_device", &["nd_net"]),
        io_kiocb_opcode: at("io_kiocb", &["opcode"]),
        io_kiocb_file: at("io_kiocb", &["file"]),
        io_kiocb_async_data: at("io_kiocb", &["async_data"]),
        io_async_msghdr_addr: at("io_async_msghdr", &["addr"]),
        io_uring_complete_args: types
            .tracepoint_args("io_uring_complete")
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(MISSING),
        send_reset_args: types
            .tracepoint_args("tcp_send_reset")
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(MISSING),
        regs_first,
        regs_second,
        regs_third,
        number_of_bind: number(libc::SYS_bind),
        number_of_listen: number(libc::SYS_listen),
        number_of_connect: number(libc::SYS_connect),
        ..Offsets::NONE
    }
}

/// Where the registers hold the first three arguments of a system call while it
/// returns, in words of 64 bits.
fn arguments(types: &KernelTypes) -> [u32; 3] {
    let at = |field| byte_offset(types, "pt_regs", &[field]);
    match at("di") {
        // arm64: the result takes the place of the first one, which is kept apart.
        MISSING => {
            let regs = at("regs");
            let after = |bytes| regs.checked_add(bytes).unwrap_or(MISSING);
            [at("orig_x0"), after(8), after(16)]
        }
        x86_64 => [x86_64, at("si"), at("dx")],
    }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(MISSING)
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

/// What only function hooks need. `functions`: those that this kernel has, with
/// their number of arguments.
pub(super) fn resolve_functions(
    types: &KernelTypes,
    functions: &BTreeMap<&str, usize>,
    offsets: &mut Offsets,
) {
    let args = |name: &str| {
        functions
            .get(name)
            .and_then(|count| u32::try_from(*count).ok())
            .unwrap_or(MISSING)
    };
    offsets.tw_timer = byte_offset(types, "inet_timewait_sock", &["tw_timer"]);
    offsets.tw_status_syn = types
        .enumerators("tcp_tw_status")
        .into_iter()
        .find(|(_, name)| name == "TCP_TW_SYN")
        .and_then(|(value, _)| u32::try_from(value).ok())
        .unwrap_or(MISSING);
    offsets.twsk_alloc_args = args("inet_twsk_alloc");
    offsets.tw_state_process_args = args("tcp_timewait_state_process");
    offsets.twsk_unique_args = args("tcp_twsk_unique");
    offsets.bind_conflict_args = args("inet_bind_conflict");
    offsets.saddr_equal_args = args("inet_rcv_saddr_equal");
    offsets.accept_args = args("inet_csk_accept");
}

/// Where a function hook's result is, or what else it cannot do without.
pub(super) fn missing_for_function(offsets: &Offsets, name: &str) -> Option<&'static str> {
    match name {
        "tw_timer_handler" => first_missing([(offsets.tw_timer, "inet_timewait_sock.tw_timer")]),
        "inet_twsk_alloc" => first_missing([(offsets.twsk_alloc_args, "inet_twsk_alloc")]),
        "tcp_twsk_unique" => first_missing([(offsets.twsk_unique_args, "tcp_twsk_unique")]),
        "inet_bind_conflict" => first_missing([(offsets.bind_conflict_args, "inet_bind_conflict")]),
        "inet_rcv_saddr_equal" => {
            first_missing([(offsets.saddr_equal_args, "inet_rcv_saddr_equal")])
        }
        "inet_csk_accept" => first_missing([(offsets.accept_args, "inet_csk_accept")]),
        "inet_bind"
        | "inet6_bind"
        | "inet_listen"
        | "inet_stream_connect"
        | "mptcp_stream_connect" => first_missing([(offsets.socket_sk, "socket.sk")]),
        "tcp_timewait_state_process" => first_missing([
            (offsets.tw_state_process_args, "tcp_timewait_state_process"),
            (offsets.tw_status_syn, "TCP_TW_SYN"),
        ]),
        "inet_twsk_kill" | "__inet_twsk_schedule" => first_missing([
            (offsets.tw_substate, "inet_timewait_sock.tw_substate"),
            (offsets.tw_expires, "inet_timewait_sock.tw_timer"),
        ]),
        _ => None,
    }
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

/// Whether a namespace has its cookie from the beginning, as from Linux 5.12. Before, it
/// was an atomic number that was made when somebody asked.
pub(super) fn has_cookies_of_namespaces(types: &KernelTypes) -> bool {
    types.member("net", &["net_cookie"]).is_some()
        && types.member("net", &["net_cookie", "counter"]).is_none()
}

/// What every hook that looks at a socket cannot do without.
pub(super) fn missing_for_sockets(offsets: &Offsets) -> Option<&'static str> {
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
/// bind, nothing is amiss; see [`has_io_uring_bind`].
pub(super) fn missing_for_io_uring(offsets: &Offsets) -> Option<&'static str> {
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

/// Whether this kernel binds through `io_uring` at all (Linux 6.11).
pub(super) fn has_io_uring_bind(types: &KernelTypes) -> bool {
    types
        .enumerators("io_uring_op")
        .iter()
        .any(|(_, name)| name == "IORING_OP_BIND")
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
pub(super) fn missing_for_descriptors(offsets: &Offsets) -> Option<&'static str> {
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

/// What it takes to tell which process has which socket open.
pub(super) fn missing_for_open_sockets(offsets: &Offsets) -> Option<&'static str> {
    first_missing([
        (offsets.task_tgid, "task_struct.tgid"),
        (offsets.file_inode, "file.f_inode"),
        (offsets.inode_mode, "inode.i_mode"),
        (offsets.inode_ino, "inode.i_ino"),
    ])
}

/// What it takes to tell which process and program made a failed call.
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

fn byte_offset(types: &KernelTypes, name: &str, path: &[&str]) -> u32 {
    types
        .member(name, path)
        .filter(|member| member.bit_offset % 8 == 0)
        .map_or(MISSING, |member| member.bit_offset / 8)
}

fn bit_field(types: &KernelTypes, name: &str, path: &[&str]) -> BitField {
    let Some(member) = types.member(name, path) else {
        return BitField::MISSING;
    };
    // A plain field of one byte has no width of its own.
    let width = match member.bit_width {
        0 => 8,
        width => width,
    };
    let shift = member.bit_offset % 8;
    if shift + width > 8 {
        return BitField::MISSING;
    }
    let (Ok(shift), Ok(mask)) = (u8::try_from(shift), u8::try_from((1_u32 << width) - 1)) else {
        return BitField::MISSING;
    };
    BitField {
        offset: member.bit_offset / 8,
        shift,
        mask,
        reserved: 0,
    }
}

/// The kernel program copies the head of a socket once and reads its fields
/// from the copy; a field beyond it counts as missing.
fn inside_common(offset: u32, len: u32) -> u32 {
    match offset.checked_add(len) {
        Some(end) if end <= SOCK_COMMON_LEN => offset,
        _ => MISSING,
    }
}

fn socket_to_inode(socket: u32, inode: u32) -> u32 {
    if socket == MISSING || inode == MISSING {
        return MISSING;
    }
    inode.checked_sub(socket).unwrap_or(MISSING)
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
