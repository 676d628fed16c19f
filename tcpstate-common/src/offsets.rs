//! Where the fields that the kernel program reads lie in the running kernel.
//!
//! User space resolves them from the kernel's own BTF and hands them in as a
//! read-only global before load. The verifier then sees constants, and removes
//! the code of a capability whose fields are [`MISSING`].

/// The field does not exist on this kernel.
pub const MISSING: u32 = u32::MAX;

/// Bytes of `struct sock_common` that are read at once: up to and with
/// `skc_flags` on Linux 5.10 to 7.3. Every object that lies in a bind bucket
/// (full socket, request, mini-socket) begins with that struct.
pub const SOCK_COMMON_LEN: u32 = 104;

/// A bitfield, or a plain field of one byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitField {
    /// Byte that holds all of its bits.
    pub offset: u32,
    /// Lowest bit in that byte.
    pub shift: u8,
    /// Mask after the shift.
    pub mask: u8,
    /// Zero.
    pub reserved: u16,
}

impl BitField {
    /// Does not exist on this kernel.
    pub const MISSING: Self = Self {
        offset: MISSING,
        shift: 0,
        mask: 0,
        reserved: 0,
    };
}

macro_rules! offsets {
    (
        bits { $($(#[$bmeta:meta])* $bits:ident,)* }
        plain { $($(#[$meta:meta])* $plain:ident,)* }
    ) => {
        /// A read-only global of the kernel program. Bytes from the start of
        /// the struct that the first part of the name stands for.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets {
            $($(#[$bmeta])* pub $bits: BitField,)*
            $($(#[$meta])* pub $plain: u32,)*
        }

        impl Offsets {
            /// Nothing is known.
            pub const NONE: Self = Self {
                $($bits: BitField::MISSING,)*
                $($plain: MISSING,)*
            };
        }
    };
}

offsets! {
    bits {
        /// `sock_common.skc_reuse`.
        skc_reuse,
        /// `sock_common.skc_reuseport`.
        skc_reuseport,
        /// `sock_common.skc_ipv6only`.
        skc_ipv6only,
        /// `sock.sk_userlocks`.
        sk_userlocks,
        /// `inet_timewait_sock.tw_connect_bind`; from Linux 6.18 on.
        tw_connect_bind,
        /// `tcp_sock.is_mptcp`; missing without MPTCP.
        tp_is_mptcp,
    }
    plain {
        /// `sock_common.skc_daddr`.
        skc_daddr,
        /// `sock_common.skc_rcv_saddr`.
        skc_rcv_saddr,
        /// `sock_common.skc_dport`, network byte order.
        skc_dport,
        /// `sock_common.skc_num`, host byte order.
        skc_num,
        /// `sock_common.skc_family`.
        skc_family,
        /// `sock_common.skc_state`.
        skc_state,
        /// `sock_common.skc_bound_dev_if`.
        skc_bound_dev_if,
        /// `sock_common.skc_bind_node`.
        skc_bind_node,
        /// `sock_common.skc_net`.
        skc_net,
        /// `sock_common.skc_v6_daddr`; missing without IPv6.
        skc_v6_daddr,
        /// `sock_common.skc_v6_rcv_saddr`; missing without IPv6.
        skc_v6_rcv_saddr,
        /// `sock_common.skc_cookie`.
        skc_cookie,
        /// `sock_common.skc_flags`.
        skc_flags,
        /// `sock_common.skc_hash`.
        skc_hash,
        /// `sock_common.skc_nulls_node`, by which a connection hangs in `ehash`.
        skc_nulls_node,
        /// `sock.sk_protocol`, 16 bits.
        sk_protocol,
        /// `sock.sk_err`.
        sk_err,
        /// `sock.sk_uid`.
        sk_uid,
        /// `sock.sk_socket`.
        sk_socket,
        /// `inet_sock.inet_sport`, network byte order.
        inet_sport,
        /// `inet_timewait_sock.tw_substate`, one byte.
        tw_substate,
        /// `inet_timewait_sock.tw_timer.expires`.
        tw_expires,
        /// `net.ns.inum`.
        net_inum,
        /// `net.net_cookie`.
        net_cookie,
        /// `net.hash_mix`.
        net_hash_mix,
        /// `net.ipv4.tcp_death_row`.
        net_death_row,
        /// 1: `tcp_death_row` is a pointer (Linux 5.18 to 6.0).
        net_death_row_is_pointer,
        /// `net.ipv4.sysctl_ip_prot_sock`.
        net_prot_sock,
        /// `inet_timewait_death_row.hashinfo`.
        death_row_hashinfo,
        /// `inet_hashinfo.ehash`.
        hashinfo_ehash,
        /// `inet_hashinfo.ehash_mask`.
        hashinfo_ehash_mask,
        /// Size of `inet_ehash_bucket`, which begins with its chain.
        ehash_bucket_size,
        /// `inet_hashinfo.bhash`.
        hashinfo_bhash,
        /// `inet_hashinfo.bhash_size`.
        hashinfo_bhash_size,
        /// Size of `inet_bind_hashbucket`.
        hashbucket_size,
        /// `inet_bind_hashbucket.chain`.
        hashbucket_chain,
        /// `inet_bind_bucket.ib_net`.
        tb_net,
        /// `inet_bind_bucket.l3mdev`; missing on kernels without VRF.
        tb_l3mdev,
        /// `inet_bind_bucket.port`.
        tb_port,
        /// `inet_bind_bucket.node`.
        tb_node,
        /// `inet_bind_bucket.fastreuse`, one byte with a sign.
        tb_fastreuse,
        /// `inet_bind_bucket.fastreuseport`, one byte.
        tb_fastreuseport,
        /// `inet_bind_bucket.fastuid`.
        tb_fastuid,
        /// `inet_bind_bucket.fast_v6_rcv_saddr`; missing without IPv6.
        tb_fast_v6_rcv_saddr,
        /// `inet_bind_bucket.fast_rcv_saddr`.
        tb_fast_rcv_saddr,
        /// `inet_bind_bucket.fast_sk_family`.
        tb_fast_sk_family,
        /// `inet_bind_bucket.fast_ipv6_only`, one byte.
        tb_fast_ipv6_only,
        /// `inet_bind_bucket.owners`; missing from Linux 6.8 on.
        tb_owners,
        /// `inet_bind_bucket.bhash2`; from Linux 6.8 on.
        tb_bhash2,
        /// `inet_bind2_bucket.bhash_node`; from Linux 6.8 on.
        tb2_bhash_node,
        /// `inet_bind2_bucket.owners`.
        tb2_owners,
        /// `task_struct.flags`.
        task_flags,
        /// `task_struct.cred`.
        task_cred,
        /// `cred.euid`.
        cred_euid,
        /// `task_struct.files`.
        task_files,
        /// `task_struct.real_parent`.
        task_real_parent,
        /// `task_struct.tgid`.
        task_tgid,
        /// `task_struct.group_leader`.
        task_group_leader,
        /// `task_struct.start_boottime`.
        task_start_boottime,
        /// `task_struct.comm`.
        task_comm,
        /// `task_struct.mm`.
        task_mm,
        /// `mm_struct.arg_start`.
        mm_arg_start,
        /// `mm_struct.arg_end`.
        mm_arg_end,
        /// `mm_struct.exe_file`.
        mm_exe_file,
        /// `files_struct.fdt`.
        files_fdt,
        /// `fdtable.max_fds`.
        fdt_max_fds,
        /// `fdtable.fd`.
        fdt_fd,
        /// `file.private_data`.
        file_private_data,
        /// `file.f_inode`.
        file_inode,
        /// `inode.i_mode`.
        inode_mode,
        /// `inode.i_ino`.
        inode_ino,
        /// `inode.i_sb`.
        inode_sb,
        /// `super_block.s_dev`.
        sb_dev,
        /// `socket.sk`.
        socket_sk,
        /// `socket.file`.
        socket_file,
        /// `mptcp_sock.first`: the TCP socket that an MPTCP socket began with;
        /// missing without MPTCP.
        msk_first,
        /// `inet_connection_sock.icsk_ulp_data`.
        icsk_ulp_data,
        /// `mptcp_subflow_context.conn`: from a TCP socket of MPTCP to the MPTCP
        /// socket that it belongs to.
        subflow_conn,
        /// From a `socket` to its inode (`SOCK_INODE`).
        socket_to_inode,
        /// `sk_buff.head`.
        skb_head,
        /// `sk_buff.network_header`, 16 bits.
        skb_network_header,
        /// `sk_buff.transport_header`, 16 bits.
        skb_transport_header,
        /// `sk_buff.dev`.
        skb_dev,
        /// `net_device.nd_net`.
        dev_net,
        /// `io_kiocb.opcode`; this and the next ones from Linux 6.11 on, which
        /// binds and listens through `io_uring`.
        io_kiocb_opcode,
        /// `io_kiocb.file`.
        io_kiocb_file,
        /// `io_kiocb.async_data`.
        io_kiocb_async_data,
        /// `io_async_msghdr.addr`: the kernel's copy of the address.
        io_async_msghdr_addr,
        /// Number of arguments of `btf_trace_io_uring_complete`, less the
        /// tracepoint's own first one: 3 with the completion entry, else 7.
        io_uring_complete_args,
        /// Number of arguments of `btf_trace_tcp_send_reset`, less the
        /// tracepoint's own first one: 2, or 3 with a reason (Linux 6.10).
        send_reset_args,
        /// Where `pt_regs` has the first argument of a system call while it returns;
        /// not where the architecture puts the result.
        regs_first,
        /// The second one.
        regs_second,
        /// The third one.
        regs_third,
        /// Number of the system call `bind`, which the architecture chooses.
        number_of_bind,
        /// Number of `listen`.
        number_of_listen,
        /// Number of `connect`.
        number_of_connect,
        /// `inet_timewait_sock.tw_timer`; this and all that follow are for
        /// function hooks.
        tw_timer,
        /// `TCP_TW_SYN` of `enum tcp_tw_status`.
        tw_status_syn,
        /// Number of arguments of `inet_twsk_alloc`: where its result is.
        twsk_alloc_args,
        /// Number of arguments of `tcp_timewait_state_process`.
        tw_state_process_args,
        /// Number of arguments of `tcp_twsk_unique`.
        twsk_unique_args,
        /// Number of arguments of `inet_bind_conflict`.
        bind_conflict_args,
        /// Number of arguments of `inet_rcv_saddr_equal`.
        saddr_equal_args,
        /// Number of arguments of `inet_csk_accept`: 4, or 2 (Linux 6.10).
        accept_args,
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self::NONE
    }
}
