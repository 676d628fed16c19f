use tcpstate_common::record::{
    AF_INET, COMM_LEN, FailedCallRecord, MAX_HOLDERS, ProgramWire, SOCKADDR_LEN, SocketWire,
    WalkStatus, call, sharing, via,
};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::event::{FileId, SeenSource};

#[test]
fn a_state_change_with_a_mini_socket_is_decoded() {
    let mut record = state_record();
    record.old = 5;
    record.new = 7;
    record.mini = mini::FOUND;
    record.mini_state = 6;
    record.mini_flags = socket_flags::MINI | socket_flags::REUSEADDR;
    record.mini_expires_ms = 60_000;

    let (mono_ns, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::State(change) = body else {
        panic!("not a state change");
    };
    assert_eq!(mono_ns, 77);
    assert_eq!(change.local.to_string(), "127.0.0.1:8080");
    assert_eq!((change.old, change.new), (State::FinWait2, State::Closed));
    let mini = change.mini.unwrap();
    assert_eq!(mini.state, State::TimeWait);
    assert_eq!(mini.expires_ms, Some(60_000));
    assert!(mini.reuse.reuseaddr);
    assert_eq!(mini.source, Source::Kernel);
    assert_eq!(change.process, None);
}

#[test]
fn a_short_state_change_says_what_the_long_one_says() {
    let mut short = ShortStateRecord::new_zeroed();
    short.header = header(Kind::ShortState);
    short.cookie = 42;
    short.listener = 43;
    short.local_addr = [127, 0, 0, 1];
    short.peer_addr = [127, 0, 0, 2];
    short.local_port = 8080;
    short.peer_port = 40_000;
    short.netns = 4_026_531_840;
    (short.old, short.new) = (11, 7);
    short.flags = socket_flags::REUSEADDR;
    short.sk_err = 104;
    short.mini = mini::FOUND;
    short.mini_state = 6;
    short.mini_flags = socket_flags::MINI;
    short.mini_expires_ms = 60_000;
    let mut long = short.to_long();
    long.header = header(Kind::State);

    let (_, body) = decoder().event(short.as_bytes()).unwrap();

    assert_eq!(decoder().event(long.as_bytes()).unwrap().1, body);
    let Body::State(change) = body else {
        panic!("not a state change");
    };
    assert_eq!(change.local.to_string(), "127.0.0.1:8080");
    assert_eq!(change.peer.to_string(), "127.0.0.2:40000");
    assert_eq!((change.old, change.new), (State::Closing, State::Closed));
    assert_eq!((change.sock.cookie, change.listener), (42, Some(43)));
    assert_eq!(change.error.as_deref(), Some("ECONNRESET"));
    assert_eq!(change.mini.map(|mini| mini.expires_ms), Some(Some(60_000)));
    assert!(change.reuse.reuseaddr && change.process.is_none());
}

#[test]
fn an_inferred_mini_socket_has_no_made_up_time() {
    let mut record = state_record();
    record.mini = mini::INFERRED;
    record.mini_state = 5;

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::State(change) = body else {
        panic!("not a state change");
    };
    assert_eq!(change.mini.unwrap().expires_ms, None);
}

#[test]
fn a_mini_sockets_end_is_told_with_its_reason_as_far_as_the_hooks_know_it() {
    let mut record = MiniRecord::new_zeroed();
    record.header = header(Kind::Mini);
    record.holder.socket = socket();
    record.holder.socket.state = 6;
    record.holder.socket.flags = socket_flags::MINI;
    record.what = mini_event::ENDED;
    let told = |record: &MiniRecord, decoder: &Decoder| match decoder.event(record.as_bytes()) {
        Ok((_, Body::Socket(seen))) => seen,
        other => panic!("not a socket: {other:?}"),
    };
    let knowing = decoder().knowing_ends(true);

    for (why, expected) in [
        (mini_end::EXPIRED, Some(ExitReason::Expired)),
        (mini_end::REUSED, Some(ExitReason::Reused)),
        (mini_end::DESTROYED, Some(ExitReason::Destroyed)),
        (mini_end::UNKNOWN, None),
        (99, None),
    ] {
        record.why = why;
        let seen = told(&record, &knowing);
        assert_eq!((seen.state, seen.ended), (State::Closed, expected));
        assert!(seen.is_mini());
        assert_eq!(seen.source, Source::Kernel);
    }
    record.why = mini_end::DESTROYED;
    assert_eq!(told(&record, &decoder()).ended, None);

    record.what = mini_event::REARMED;
    record.holder.expires_ms = 60_000;
    let seen = told(&record, &knowing);
    assert_eq!(
        (seen.state, seen.expires_ms),
        (State::TimeWait, Some(60_000))
    );
    record.what = 9;
    assert!(knowing.event(record.as_bytes()).is_err());
}

#[test]
fn a_failed_bind_carries_request_process_and_holders() {
    let mut record = failed_bind();
    record.walk = WalkStatus::Complete as u8;
    record.recorded = 1;
    record.visited = 1;
    record.holders[0].socket = socket();
    record.holders[0].socket.state = 10;
    record.holders[0].has_owner_fields = 1;
    record.holders[0].inode = 4242;
    record.holders[0].userlocks = userlocks::BINDPORT;

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    assert_eq!(call.errno_name.as_deref(), Some("EADDRINUSE"));
    assert_eq!(call.requested.addr, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(call.requested.port, 8080);
    assert_eq!(call.process.comm.as_ref(), "server");
    assert_eq!(
        call.process.argv.as_deref(),
        Some(&["server".to_owned(), "-p".to_owned()][..])
    );
    let seen = call.seen.unwrap();
    assert!(seen.is_complete);
    assert_eq!(seen.holders[0].state, State::Listen);
    assert_eq!(seen.holders[0].inode, Some(4242));
    assert_eq!(seen.holders[0].is_port_locked, Some(true));
    assert_eq!(seen.holders[0].is_connect_bound, Some(false));
}

#[test]
fn users_and_sharing_are_read_as_this_kernel_means_them() {
    let mut record = failed_bind();
    record.uid = 1000;
    record.has_uid = 1;
    record.walk = WalkStatus::Complete as u8;
    record.recorded = 1;
    record.holders[0].socket = socket();
    record.holders[0].uid = 1000;
    record.holders[0].has_owner_fields = 1;
    record.sharing.mode = sharing::SAME_ADDRESS;
    record.sharing.family = AF_INET;
    record.sharing.addr[..4].copy_from_slice(&[127, 0, 0, 1]);
    record.sharing.uid = 7;
    record.admits_reuseaddr = 1;

    for (decoder, orphans_user) in [(decoder(), 0), (decoder().keeping_orphans_user(true), 1000)] {
        let (_, body) = decoder.event(record.as_bytes()).unwrap();

        let Body::Bind(call) = body else {
            panic!("not a bind");
        };
        assert_eq!(call.uid, Some(1000));
        let seen = call.seen.unwrap();
        assert_eq!(seen.holders[0].uid, Some(orphans_user));
        assert!(seen.admits_reuseaddr);
        let sharing = seen.sharing.unwrap();
        assert_eq!(sharing.uid, 7);
        assert_eq!(sharing.addr, Some("127.0.0.1".parse().unwrap()));
    }

    record.walk = WalkStatus::NoBucket as u8;
    let (_, body) = decoder().event(record.as_bytes()).unwrap();
    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    let seen = call.seen.unwrap();
    assert_eq!((seen.sharing, seen.admits_reuseaddr), (None, false));
}

#[test]
fn a_failed_call_that_nobody_walked_for_leaves_the_port_to_be_read() {
    let mut record = failed_bind();
    record.walk = WalkStatus::Deferred as u8;
    record.recorded = 1;
    record.visited = 1;
    record.holders[0].socket = socket();
    record.holders[0].is_tripped_over = 1;
    // What was not written may be anything.
    record.sharing.mode = sharing::ANY_ADDRESS;
    record.sharing.family = AF_INET;

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    let seen = call.seen.unwrap();
    assert!(!seen.is_complete && seen.holders[0].is_tripped_over);
    assert_eq!((seen.source, seen.sharing), (SeenSource::Snapshot, None));
}

#[test]
fn a_failed_call_tells_when_its_process_started_and_which_file_its_program_is() {
    let mut record = failed_bind();
    record.program.start_boottime = 12_345_678_901;
    record.program.dev = (259 << 20) | 3;
    record.program.inode = 77;

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    assert_eq!(call.process.start_ticks, Some(1234));
    let file = FileId {
        dev_major: 259,
        dev_minor: 3,
        inode: 77,
    };
    assert_eq!(call.process.program, Some(file));
    assert!(!call.process.is_exe_here);

    // What the kernel program could not read is not known.
    record.program = ProgramWire::new_zeroed();
    let (_, body) = decoder().event(record.as_bytes()).unwrap();
    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    assert_eq!(
        (call.process.start_ticks, call.process.program),
        (None, None)
    );
}

#[test]
fn counts_beyond_the_record_are_cut() {
    let mut record = failed_bind();
    record.walk = WalkStatus::Truncated as u8;
    record.recorded = u16::MAX;
    record.argv_len = u16::MAX;
    for holder in &mut record.holders {
        holder.socket = socket();
    }

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::Bind(call) = body else {
        panic!("not a bind");
    };
    assert_eq!(call.seen.unwrap().holders.len(), MAX_HOLDERS);
}

#[test]
fn no_cut_or_flipped_record_is_a_panic() {
    let records = [
        state_record().as_bytes().to_vec(),
        failed_bind().as_bytes().to_vec(),
    ];

    for record in records {
        for len in 0..record.len() {
            let _ = decoder().event(&record[..len]);
        }
        for index in 0..record.len() {
            let mut flipped = record.clone();
            flipped[index] ^= 0xff;
            let _ = decoder().event(&flipped);
        }
    }
}

#[test]
fn unknown_values_are_named() {
    let mut record = state_record();
    record.new = 99;

    let error = decoder().event(record.as_bytes()).unwrap_err();

    assert_eq!(error.to_string(), "new has the unknown value 99");
}

#[test]
fn reset_reasons_are_named_by_the_running_kernel() {
    let mut record = ResetRecord::new_zeroed();
    record.header = header(Kind::Reset);
    record.socket = socket();
    record.direction = direction::SENT;
    record.has_reason = 1;
    record.reason = 1;

    let (_, body) = decoder().event(record.as_bytes()).unwrap();

    let Body::Reset(reset) = body else {
        panic!("not a reset");
    };
    assert_eq!(reset.reason.as_deref(), Some("no_socket"));
    assert_eq!(reset.sock, None);
}

fn decoder() -> Decoder {
    Decoder::new(&[(1, "SK_RST_REASON_NO_SOCKET".to_owned())], true)
}

fn header(kind: Kind) -> RecordHeader {
    RecordHeader {
        kind: kind as u16,
        reserved: 0,
        cpu: 1,
        mono_ns: 77,
    }
}

fn socket() -> SocketWire {
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&[127, 0, 0, 1]);
    SocketWire {
        cookie: 9,
        local_addr: addr,
        peer_addr: addr,
        local_port: 8080,
        peer_port: 40000,
        netns: 1,
        family: AF_INET,
        flags: 0,
        state: 1,
        bound_dev_if: 0,
    }
}

fn state_record() -> StateRecord {
    let mut record = StateRecord::new_zeroed();
    record.header = header(Kind::State);
    record.socket = socket();
    record.old = 1;
    record.new = 4;
    record
}

fn failed_bind() -> FailedCallRecord {
    let mut record = FailedCallRecord::new_zeroed();
    record.call.header = header(Kind::FailedCall);
    record.call.socket = socket();
    record.call.call = call::BIND;
    record.call.via = via::SYSCALL;
    record.call.errno = 98;
    record.call.addr_len = 16;
    let mut requested = [0; SOCKADDR_LEN];
    requested[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    requested[2..4].copy_from_slice(&8080_u16.to_be_bytes());
    requested[4..8].copy_from_slice(&[10, 1, 2, 3]);
    record.call.requested = requested;
    record.call.task.pid = 10;
    let mut comm = [0; COMM_LEN];
    comm[..6].copy_from_slice(b"server");
    record.call.task.comm = comm;
    record.argv[..10].copy_from_slice(b"server\0-p\0");
    record.argv_len = 10;
    record
}
