//! Listeners that are in no list of a process's descriptors: in an `io_uring`, in one
//! thread, on their way to somebody. Each is asked about by `explain`, and by a `watch` that
//! comes later.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::mpsc;

use io_uring::IoUring;
use serde_json::Value;

use crate::owners::{failed_bind, pids};
use support::{Lacking, TCPSTATE, Watch, listener, on_stage, skip_for};

const SERVER: &str = "127.0.0.1:8080";

fn explain() -> Value {
    let output = Command::new(TCPSTATE)
        .args([
            "explain",
            "8080",
            "--addr",
            "127.0.0.1",
            "--reuseaddr",
            "--json",
        ])
        .output()
        .expect("it runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Both answers about the same socket.
fn answers() -> [Value; 2] {
    let mut watch = Watch::start(&["--port", "8080"]);
    let late = failed_bind(&mut watch);
    watch.finish();
    [explain(), late]
}

/// Both name this process, and where it has the socket.
#[track_caller]
fn assert_held_in(held_in: &str, phrase: &str) {
    for answer in answers() {
        let processes = &answer["holders"][0]["processes"];
        assert_eq!(pids(processes), [u64::from(std::process::id())], "{answer}");
        assert_eq!(processes[0]["held_in"], held_in, "{answer}");
        assert_eq!(answer["cause"], "active_listener", "{answer}");
        let summary = answer["summary"].as_str().expect("text");
        assert!(summary.contains(phrase), "{summary}");
    }
}

#[test]
fn a_registered_file_of_an_io_uring_has_a_holder() {
    if !on_stage(&[]) {
        return;
    }
    let ring = match IoUring::new(2) {
        Ok(ring) => ring,
        Err(error) => {
            skip_for(Lacking {
                what: &format!("io_uring is not to be had here: {error}"),
                since: None,
            });
            return;
        }
    };
    let listening = listener(SERVER, true);
    ring.submitter()
        .register_files(&[listening.as_raw_fd()])
        .expect("a socket may be registered");
    drop(listening);
    let info = format!("/proc/self/fdinfo/{}", ring.as_raw_fd());
    let info = std::fs::read_to_string(info).expect("it is ours");
    if !info.contains("socket:[") {
        skip_for(Lacking {
            what: "this kernel does not show which files an io_uring has",
            since: Some((6, 6)),
        });
        return;
    }

    assert_held_in("io_uring", "in an io_uring");
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_looked_into() {
    if !on_stage(&[]) {
        return;
    }
    let (ready, is_ready) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        unshare_descriptors();
        let listening = listener(SERVER, true);
        ready.send(()).expect("somebody waits");
        let _ = stopped.recv();
        drop(listening);
    });
    is_ready.recv().expect("it listens");

    assert_held_in("thread", "descriptors of its own");
    drop(stop);
    thread.join().expect("it ends");
}

#[expect(unsafe_code, reason = "this thread's descriptors are nobody else's")]
fn unshare_descriptors() {
    // SAFETY: the thread uses nothing that it had open before.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }
        .expect("everybody may");
}

#[test]
fn what_is_on_its_way_over_a_unix_socket_is_said_to_be_in_nobody() {
    if !on_stage(&[]) {
        return;
    }
    let (here, _there) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("two sockets");
    send(&here, &listener(SERVER, true));

    for answer in answers() {
        let holder = &answer["holders"][0];
        assert_eq!(holder["processes"], Value::Array(Vec::new()), "{answer}");
        assert_eq!(answer["cause"], "active_listener", "{answer}");
        assert_eq!(answer["certainty"], "likely", "{answer}");
        let missing = answer["missing"].to_string();
        assert!(missing.contains("SCM_RIGHTS"), "{missing}");
    }
}

/// Over the socket with it, and gone from here.
fn send(over: &OwnedFd, socket: &OwnedFd) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use std::os::fd::AsFd as _;
    let descriptors = [socket.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let data = [std::io::IoSlice::new(b"x")];
    rustix::net::sendmsg(over, &data, &mut control, SendFlags::empty()).expect("there is room");
}
