//! IPv6 in the network namespace of the calling thread: which addresses there are, and what
//! keeps them from being used.

use std::net::Ipv6Addr;

use crate::event::{Ipv6State, OnInterface};

/// `IFA_F_DADFAILED` and `IFA_F_TENTATIVE` of `linux/if_addr.h`.
const DAD_FAILED: u32 = 0x08;
const TENTATIVE: u32 = 0x40;
/// Interfaces that are listed for one address.
const MAX_LISTED: usize = 8;

/// Reads it for a call that asked for this address; `None`: it cannot be read.
pub(crate) fn read(requested: Ipv6Addr) -> Option<Ipv6State> {
    let disabled = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    match std::fs::read_to_string("/proc/thread-self/net/if_inet6") {
        Ok(table) => {
            let is_disabled = disabled.ok()?.trim() != "0";
            Some(parse(&table, requested, is_disabled))
        }
        // Where the kernel was started without IPv6 there is no such file.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(parse("", requested, true))
        }
        Err(_) => None,
    }
}

/// Lines such as `20010db8000000000000000000000001 02 40 00 80     eth0`: address, number of
/// the interface, length of the prefix, scope, flags, name; numbers in hexadecimal.
fn parse(table: &str, requested: Ipv6Addr, is_disabled: bool) -> Ipv6State {
    let mut state = Ipv6State {
        is_off: is_disabled,
        sources: 0,
        requested_on: Vec::new(),
    };
    for line in table.lines() {
        let mut fields = line.split_ascii_whitespace();
        let addr = fields
            .next()
            .and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let flags = fields
            .nth(3)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let (Some(addr), Some(flags), Some(interface)) = (addr, flags, fields.next()) else {
            continue;
        };
        let addr = Ipv6Addr::from(addr);
        state.is_off = false;
        if flags & (DAD_FAILED | TENTATIVE) == 0 {
            state.sources = state.sources.saturating_add(1);
        }
        if addr == requested && state.requested_on.len() < MAX_LISTED {
            state.requested_on.push(OnInterface {
                interface: interface.to_owned(),
                is_tentative: flags & TENTATIVE != 0,
                is_duplicate: flags & DAD_FAILED != 0,
            });
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
        fe800000000000000000000000000001 02 40 20 80     eth0\n\
        20010db8000100000000000000000006 02 40 00 48     eth0\n\
        20010db8000100000000000000000007 02 40 00 c0     eth0\n";

    #[test]
    fn flags_say_what_keeps_an_address_from_being_used() {
        let duplicate = parse(TABLE, "2001:db8:1::6".parse().unwrap(), false);
        let tentative = parse(TABLE, "2001:db8:1::7".parse().unwrap(), true);

        assert_eq!((duplicate.is_off, duplicate.sources), (false, 2));
        let [on] = duplicate.requested_on.as_slice() else {
            panic!("{duplicate:?}");
        };
        assert_eq!(
            (&*on.interface, on.is_tentative, on.is_duplicate),
            ("eth0", true, true)
        );
        let [on] = tentative.requested_on.as_slice() else {
            panic!("{tentative:?}");
        };
        assert_eq!((on.is_tentative, on.is_duplicate), (true, false));
    }

    #[test]
    fn without_any_address_it_is_off_only_where_it_was_switched_off() {
        let off = parse("", Ipv6Addr::LOCALHOST, true);
        let odd = parse("x\n\n1 2 3\n", Ipv6Addr::LOCALHOST, true);
        let lo_is_down = parse("", Ipv6Addr::LOCALHOST, false);
        let one_is_on = parse(TABLE, Ipv6Addr::LOCALHOST, true);

        assert!(off.is_off && odd.is_off && off.requested_on.is_empty());
        assert!(!lo_is_down.is_off && !one_is_on.is_off);
    }
}
