use super::*;

fn listener(addr: &str) -> BoundSocket {
    let addr: IpAddr = addr.parse().expect("literal");
    BoundSocket {
        family: family_of(addr),
        addr,
        reuse: Some(Reuse::default()),
        uid: Some(0),
        v6only: None,
        device: None,
        state: State::Listen,
        is_mini: false,
    }
}

fn binder(addr: &str) -> Binder {
    let addr: IpAddr = addr.parse().expect("literal");
    Binder {
        family: family_of(addr),
        addr,
        reuse: Reuse::default(),
        uid: Some(0),
        device: None,
    }
}

fn family_of(addr: IpAddr) -> Family {
    if addr.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

#[test]
fn sockets_on_two_devices_do_not_meet_but_no_device_meets_each() {
    let mut new = binder("0.0.0.0");
    let mut holder = listener("0.0.0.0");
    holder.device = Some(1);

    assert_eq!(verdict(&new, &holder), Verdict::Conflict);
    new.device = Some(2);
    assert_eq!(verdict(&new, &holder), Verdict::Free);
    new.device = Some(1);
    assert_eq!(verdict(&new, &holder), Verdict::Conflict);
}

#[test]
fn unread_options_are_judged_only_where_they_do_not_matter() {
    let mut new = binder("0.0.0.0");
    let mut holder = listener("0.0.0.0");
    holder.reuse = None;

    assert_eq!(verdict(&new, &holder), Verdict::Conflict);
    holder.state = State::TimeWait;
    new.reuse.reuseaddr = true;
    assert_eq!(verdict(&new, &holder), Verdict::Unknown);
    holder.addr = "127.0.0.1".parse().expect("literal");
    new.addr = "127.0.0.2".parse().expect("literal");
    assert_eq!(verdict(&new, &holder), Verdict::Free);
}

#[test]
fn an_incomplete_list_never_says_yes() {
    let new = binder("127.0.0.1");

    for (holders, is_complete, answer) in [
        (vec![], true, YesNo::Yes),
        (vec![], false, YesNo::Unknown),
        (vec![listener("::")], false, YesNo::No),
    ] {
        let forecast = forecast(&new, &holders, Memory::default(), is_complete);
        assert_eq!(forecast, Forecast::both(answer));
    }
}

#[test]
fn a_bucket_opened_for_reuseport_admits_its_own_user_within_its_address() {
    let mut new = binder("127.0.0.1");
    new.reuse.reuseport = true;
    let sharing = |addr: &str, v6only| Sharing {
        uid: 0,
        family: family_of(addr.parse().expect("literal")),
        addr: Some(addr.parse().expect("literal")),
        v6only,
    };
    let cleared = [listener("127.0.0.1")];

    let open = sharing("127.0.0.1", false);
    let remembering = Memory {
        sharing: Some(open),
        ..Memory::default()
    };
    for (memory, answer) in [(remembering, YesNo::Yes), (Memory::default(), YesNo::No)] {
        let forecast = forecast(&new, &cleared, memory, true);
        assert_eq!(forecast, Forecast::both(answer));
    }
    for (kept, v6only, asked, admitted) in [
        ("0.0.0.0", false, "127.0.0.1", true),
        ("127.0.0.1", false, "0.0.0.0", false),
        ("127.0.0.2", false, "127.0.0.1", false),
        ("::", false, "127.0.0.1", true),
        ("::", true, "127.0.0.1", false),
        ("::", true, "::1", true),
        ("::1", true, "::", false),
        ("::ffff:0.0.0.0", false, "127.0.0.1", true),
    ] {
        let new = Binder {
            reuse: new.reuse,
            ..binder(asked)
        };
        assert_eq!(
            admits(&sharing(kept, v6only), &new),
            admitted,
            "{kept} {asked}"
        );
    }
    let any = Sharing { addr: None, ..open };
    assert!(admits(&any, &new));
    new.uid = Some(1000);
    assert!(!admits(&any, &new));
    new.uid = Some(0);
    new.reuse.reuseport = false;
    assert!(!admits(&any, &new));
}

#[test]
fn a_bucket_of_reusing_sockets_lets_another_bind_which_listens_only_if_it_shares() {
    let mut new = binder("127.0.0.1");
    let cleared = [BoundSocket {
        state: State::Bound,
        ..listener("127.0.0.1")
    }];
    let memory = Memory {
        sharing: None,
        admits_reuseaddr: true,
    };
    for (reuseaddr, reuseport, bind, listen) in [
        (false, false, YesNo::No, YesNo::No),
        (false, true, YesNo::No, YesNo::No),
        (true, false, YesNo::Yes, YesNo::No),
        (true, true, YesNo::Yes, YesNo::Yes),
    ] {
        new.reuse.reuseaddr = reuseaddr;
        new.reuse.reuseport = reuseport;

        let forecast = forecast(&new, &cleared, memory, true);

        assert_eq!(forecast, Forecast { bind, listen }, "{:?}", new.reuse);
    }
}

#[test]
fn overlap_names_how_the_addresses_meet() {
    for (new, holder, expected) in [
        ("127.0.0.1", "127.0.0.1", Overlap::Exact),
        ("127.0.0.1", "::ffff:127.0.0.1", Overlap::Exact),
        ("0.0.0.0", "127.0.0.1", Overlap::Wildcard),
        ("127.0.0.1", "::", Overlap::DualStack),
        ("::", "0.0.0.0", Overlap::DualStack),
        ("::", "::ffff:127.0.0.1", Overlap::Wildcard),
        ("::", "::1", Overlap::Wildcard),
        ("::", "::", Overlap::Exact),
        ("0.0.0.0", "::1", Overlap::DualStack),
    ] {
        assert_eq!(
            overlap(&binder(new), &listener(holder)),
            expected,
            "{new} {holder}"
        );
    }
}
