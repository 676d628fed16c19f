//! Addresses: two families, one device, none of this machine.

use rustix::io::Errno;
use rustix::net::sockopt;

use super::{SERVER, refused_bind, refused_bind_at, summary};
use crate::advice::stages;
use crate::elsewhere::Elsewhere;
use support::{Program, TCPSTATE, Watch, at, listener, on_stage, socket, try_bind};

#[test]
fn dual_stack() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let _listening = listener("[::]:8080", true);

    assert_eq!(
        try_bind("0.0.0.0:8080", true).expect_err("the IPv6 socket takes IPv4, too"),
        Errno::ADDRINUSE
    );
    let diagnosis = watch.diagnosis("bind", 8080);

    assert_eq!(diagnosis["cause"], "dual_stack");
    assert_eq!(diagnosis["holders"][0]["overlap"], "dual_stack");
    watch.finish();
}

#[test]
fn address_not_local() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);

    assert_eq!(
        try_bind("192.0.2.1:8080", false).expect_err("no such address here"),
        Errno::ADDRNOTAVAIL
    );
    let diagnosis = watch.diagnosis("bind", 8080);

    assert_eq!(diagnosis["cause"], "address_not_local");
    watch.finish();
}

/// What keeps an IPv6 address from being used, by both that are asked.
#[test]
fn an_address_that_is_there_and_cannot_be_used() {
    if !on_stage(&[Program("ip", "iproute2")]) {
        return;
    }
    for phrase in ["IPv6 is off", "tentative", "dadfailed"] {
        let (address, hold) = match phrase {
            "IPv6 is off" => ("::1", stages::ipv6_off as fn() -> stages::Kept),
            "tentative" => ("2001:db8::1", stages::tentative as _),
            _ => ("2001:db8::1", stages::duplicate as _),
        };
        let place = Elsewhere::new();
        let (diagnosis, explained) = place.inside(move || {
            let _kept = hold();
            let mut watch = Watch::start(&[]);
            let refused = try_bind(&format!("[{address}]:8080"), false);
            assert_eq!(refused.expect_err("it is refused"), Errno::ADDRNOTAVAIL);
            let diagnosis = watch.diagnosis("bind", 8080);
            watch.finish();
            let output = std::process::Command::new(TCPSTATE)
                .args(["explain", "8080", "--json", "--addr", address])
                .output()
                .expect("it runs");
            let explained: serde_json::Value =
                serde_json::from_slice(&output.stdout).expect("one object");
            (diagnosis, explained)
        });

        for answer in [&diagnosis, &explained] {
            assert_eq!(answer["cause"], "address_unusable", "{answer}");
            assert_eq!(answer["certainty"], "proven", "{answer}");
            assert!(summary(answer).contains(phrase), "{answer}");
        }
        assert_eq!(explained["would_bind"], "no");
    }
}

#[test]
fn already_bound() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&[]);
    let bound = try_bind(SERVER, false).expect("free");

    assert_eq!(
        rustix::net::bind(&bound, &at("127.0.0.1:8081")).expect_err("bound once is bound"),
        Errno::INVAL
    );
    let diagnosis = watch.diagnosis("bind", 8081);

    assert_eq!(diagnosis["cause"], "already_bound");
    watch.finish();
}

#[test]
fn an_ipv4_address_in_ipv6_clothes() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let mapped = "[::ffff:127.0.0.1]:8080";
    let listening = listener(mapped, true);

    let diagnosis = refused_bind(&mut watch, true);

    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    assert_eq!(diagnosis["holders"][0]["overlap"], "exact");
    assert_eq!(diagnosis["holders"][0]["local"]["addr"], "::ffff:127.0.0.1");
    drop(listening);
    watch.finish();

    let mut watch = Watch::start(&["--port", "8080"]);
    let _listening = listener(SERVER, true);

    let diagnosis = refused_bind_at(&mut watch, mapped, true);

    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    assert_eq!(diagnosis["holders"][0]["local"]["addr"], "127.0.0.1");
    watch.finish();
}

#[test]
fn a_listener_on_one_device_stands_in_the_way_of_all_devices() {
    if !on_stage(&[]) {
        return;
    }
    let mut watch = Watch::start(&["--port", "8080"]);
    let first = socket(at(SERVER));
    sockopt::set_socket_reuseaddr(&first, true).expect("open");
    bind_to_device(&first, "lo");
    rustix::net::bind(&first, &at("0.0.0.0:8080")).expect("free");
    rustix::net::listen(&first, 1).expect("nobody else listens");

    let diagnosis = refused_bind_at(&mut watch, "0.0.0.0:8080", true);

    assert_eq!(diagnosis["cause"], "active_listener", "{diagnosis}");
    assert!(
        summary(&diagnosis).contains("interface 1 only"),
        "the device is said: {diagnosis}"
    );
    watch.finish();
}

/// `SO_BINDTODEVICE`.
#[expect(unsafe_code, reason = "rustix has no wrapper for this option")]
fn bind_to_device(socket: &std::os::fd::OwnedFd, device: &str) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the name is read, and its length is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast(),
            u32::try_from(device.len()).expect("short"),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
