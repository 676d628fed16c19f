//! Settings of the network namespace that the calling thread is in.

use std::fs;

use crate::event::Sysctls;

/// Reads the settings; one that is not readable is absent.
#[must_use]
pub fn read() -> Sysctls {
    Sysctls {
        tcp_fin_timeout: number("ipv4/tcp_fin_timeout"),
        tcp_tw_reuse: number("ipv4/tcp_tw_reuse"),
        tcp_max_tw_buckets: number("ipv4/tcp_max_tw_buckets"),
        tcp_rfc1337: number("ipv4/tcp_rfc1337"),
        ip_local_port_range: text("ipv4/ip_local_port_range").and_then(|range| port_range(&range)),
        ip_local_reserved_ports: text("ipv4/ip_local_reserved_ports"),
        ip_unprivileged_port_start: number("ipv4/ip_unprivileged_port_start"),
        ip_nonlocal_bind: number("ipv4/ip_nonlocal_bind"),
        bindv6only: number("ipv6/bindv6only"),
    }
}

fn text(name: &str) -> Option<String> {
    Some(
        fs::read_to_string(format!("/proc/sys/net/{name}"))
            .ok()?
            .trim()
            .to_owned(),
    )
}

fn number(name: &str) -> Option<u64> {
    text(name)?.parse().ok()
}

fn port_range(text: &str) -> Option<[u16; 2]> {
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Some([first, last]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_two_numbers() {
        assert_eq!(port_range("32768\t60999"), Some([32_768, 60_999]));
        assert_eq!(port_range("32768"), None);
        assert_eq!(port_range("1 2 3"), None);
    }

    #[test]
    fn this_namespace_has_a_port_range() {
        assert!(
            read()
                .ip_local_port_range
                .is_some_and(|[first, last]| first < last)
        );
    }
}
