//! Calls through `io_uring`: no system call of that name is made.

use std::os::fd::{AsRawFd as _, OwnedFd};

use io_uring::{IoUring, opcode, squeue, types};
use serde_json::Value;

use support::{Lacking, Watch, listener, on_stage, skip_for, socket};

/// `sockaddr_in` of 127.0.0.1:8080.
fn server() -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: 8080_u16.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    }
}

/// The result of one request; `None`: this kernel does not know it.
#[expect(
    unsafe_code,
    reason = "the ring takes requests with raw pointers in them"
)]
fn submit(entry: &squeue::Entry) -> Option<i32> {
    let mut ring = match IoUring::new(2) {
        Ok(ring) => ring,
        Err(error) => {
            skip_for(Lacking {
                what: &format!("io_uring is not to be had here: {error}"),
                since: None,
            });
            return None;
        }
    };
    // SAFETY: what the entry points to lives until the request is complete,
    // which is waited for.
    unsafe { ring.submission().push(entry) }.expect("the ring has room");
    ring.submit_and_wait(1).expect("the request completes");
    let result = ring.completion().next().map(|entry| entry.result());
    match result {
        Some(result) if result == -libc::EINVAL => {
            skip_for(Lacking {
                what: "this kernel does not bind through io_uring",
                since: Some((6, 11)),
            });
            None
        }
        result => result,
    }
}

fn bind(socket: &OwnedFd) -> Option<i32> {
    let address = server();
    let entry = opcode::Bind::new(
        types::Fd(socket.as_raw_fd()),
        (&raw const address).cast(),
        16,
    )
    .build();
    submit(&entry)
}

#[test]
fn a_bind_through_io_uring_that_fails_is_explained_like_any_other() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _listening = listener("127.0.0.1:8080", true);
    let asking = socket("0.0.0.0:0".parse().expect("an address"));

    let Some(result) = bind(&asking) else {
        return;
    };
    assert_eq!(result, -libc::EADDRINUSE);

    let diagnosis = watch.diagnosis("bind", 8080);
    assert_eq!(
        (&diagnosis["cause"], &diagnosis["certainty"]),
        (&Value::from("active_listener"), &Value::from("proven"))
    );
    let events = watch.finish();
    let failed: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "bind" && event["ok"] == false)
        .collect();
    assert_eq!(failed.len(), 1, "it is seen once: {failed:?}");
    let call = failed[0];
    assert_eq!(
        (
            &call["via"],
            &call["errno_name"],
            &call["requested"]["addr"]
        ),
        (
            &Value::from("io_uring"),
            &Value::from("EADDRINUSE"),
            &Value::from("127.0.0.1")
        )
    );
    assert_eq!(call["process"]["pid"], std::process::id());
}

#[test]
fn a_listen_through_io_uring_that_fails_is_explained_like_any_other() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let first = support::try_bind("127.0.0.1:8080", true).expect("the port is free");
    let second = support::try_bind("127.0.0.1:8080", true).expect("both may bind");
    rustix::net::listen(&first, 8).expect("nobody else listens");

    let entry = opcode::Listen::new(types::Fd(second.as_raw_fd()), 8).build();
    let Some(result) = submit(&entry) else {
        return;
    };
    assert_eq!(result, -libc::EADDRINUSE);

    let diagnosis = watch.diagnosis("listen", 8080);
    assert_eq!(diagnosis["cause"], "active_listener");
    watch.finish();
}
