//! Values as JSON, written by hand.

use std::net::IpAddr;

use crate::event::{Endpoint, ExitReason, Family, Reuse, Sock, Source};

pub(super) fn exit_name(reason: ExitReason) -> &'static str {
    match reason {
        ExitReason::Expired => "expired",
        ExitReason::Reused => "reused",
        ExitReason::Destroyed => "destroyed",
        ExitReason::Unknown => "unknown",
    }
}

/// What all four begin with.
pub(super) fn put_addresses(line: &mut Vec<u8>, sock: &Sock, local: &Endpoint, peer: &Endpoint) {
    let Sock {
        cookie,
        netns,
        family,
    } = sock;
    put(line, r#","sock":{"cookie":"#);
    put_number(line, *cookie);
    put(line, r#","netns":"#);
    put_number(line, *netns);
    put(
        line,
        match family {
            Family::Ipv4 => r#","family":"ipv4"},"local":"#,
            Family::Ipv6 => r#","family":"ipv6"},"local":"#,
        },
    );
    put_endpoint(line, *local);
    put(line, r#","peer":"#);
    put_endpoint(line, *peer);
}

fn put_endpoint(line: &mut Vec<u8>, endpoint: Endpoint) {
    let Endpoint { addr, port } = endpoint;
    put(line, r#"{"addr":""#);
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            put_number(line, a);
            for octet in [b, c, d] {
                line.push(b'.');
                put_number(line, octet);
            }
        }
        IpAddr::V6(addr) => {
            use std::io::Write as _;

            // Memory takes everything.
            let _ = write!(line, "{addr}");
        }
    }
    put(line, r#"","port":"#);
    put_number(line, port);
    line.push(b'}');
}

pub(super) fn put_number(line: &mut Vec<u8>, number: impl itoa::Integer) {
    put(line, itoa::Buffer::new().format(number));
}

pub(super) fn put(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

pub(super) fn put_reuse(reuse: Reuse, line: &mut Vec<u8>) {
    let Reuse {
        reuseaddr,
        reuseport,
        v6only,
    } = reuse;
    let put_claim = |line: &mut Vec<u8>, name: &str, is_so: bool| {
        put(line, name);
        put(line, if is_so { "true" } else { "false" });
    };
    put_claim(line, r#"{"reuseaddr":"#, reuseaddr);
    put_claim(line, r#","reuseport":"#, reuseport);
    put_claim(line, r#","v6only":"#, v6only);
    put(line, "}");
}

/// The last field of all that have it.
pub(super) fn put_source(source: Source, line: &mut Vec<u8>) {
    put(
        line,
        match source {
            Source::Kernel => r#","source":"kernel""#,
            Source::Inferred => r#","source":"inferred""#,
            Source::Snapshot => r#","source":"snapshot""#,
        },
    );
}
