use super::*;
use crate::diagnosis::test_support::{PLAIN, REUSE, held_by, holder, mini};
use crate::event::{SeenHolder, SeenSource};

fn seen(holders: Vec<SeenHolder>) -> Seen {
    Seen {
        source: SeenSource::BindBucket,
        is_complete: true,
        visited: u32::try_from(holders.len()).unwrap(),
        holders,
        holders_more: 0,
        sharing: None,
        admits_reuseaddr: false,
        processes_unread: None,
    }
}

fn environment() -> Environment {
    Environment {
        local_port_range: Some([32_768, 60_999]),
        unprivileged_port_start: Some(1024),
        ..Environment::default()
    }
}

/// Of root, for 0.0.0.0:8080, without options.
fn question<'a>(seen: Option<&'a Seen>, environment: &'a Environment) -> Question<'a> {
    Question {
        addr: "0.0.0.0".parse().unwrap(),
        port: 8080,
        family: Family::Ipv4,
        reuse: PLAIN,
        device: None,
        uid: 0,
        netns: 1,
        has_net_bind_service: true,
        ipv6: None,
        address_error: None,
        seen,
        environment,
        tried: None,
        missing: &[],
        ancestors: &[],
    }
}

#[test]
fn an_empty_port_is_free() {
    let seen = seen(Vec::new());
    let answer = explain(&question(Some(&seen), &environment()));

    assert_eq!(
        (answer.would_bind, answer.would_listen, answer.cause),
        (YesNo::Yes, YesNo::Yes, None)
    );
    assert_eq!(
        answer.summary,
        "Port 8080 is free: bind and listen would succeed."
    );
    assert_eq!(answer.certainty, Certainty::Proven);
    assert!(answer.fixes.is_empty() && answer.holders.is_empty() && answer.missing.is_empty());
    assert_eq!(answer.would_work.reuseaddr, YesNo::Yes);
}

#[test]
fn what_bind_lets_in_by_memory_and_listen_refuses_is_said() {
    let seen = Seen {
        admits_reuseaddr: true,
        ..seen(vec![holder(State::Bound, "127.0.0.1", 8080, PLAIN)])
    };
    let environment = environment();
    let plain = question(Some(&seen), &environment);
    let reusing = Question {
        reuse: REUSE,
        ..plain
    };
    let tried = Tried {
        ok: true,
        errno_name: None,
    };

    for answer in [
        explain(&reusing),
        explain(&Question {
            tried: Some(&tried),
            ..reusing
        }),
    ] {
        assert_eq!(
            (answer.would_bind, answer.would_listen, answer.cause),
            (YesNo::Yes, YesNo::No, Some(Cause::BoundNotListening))
        );
        assert_eq!(
            answer.summary,
            "Bind on 0.0.0.0:8080 would succeed, because all that bound the port had SO_REUSEADDR when they did, but listen would be refused with EADDRINUSE: one socket on the port stands in the way."
        );
        assert_eq!(answer.would_work.reuseport, YesNo::Yes);
        assert_eq!((answer.holders.len(), answer.others.len()), (1, 0));
    }
    let plain = explain(&plain);
    assert_eq!(
        (plain.would_bind, plain.would_work.reuseaddr),
        (YesNo::No, YesNo::No)
    );
}

#[test]
fn a_time_wait_is_in_the_way_until_the_new_socket_sets_so_reuseaddr() {
    let seen = seen(vec![mini(State::TimeWait, 8080, REUSE, 41_000)]);
    let environment = environment();
    let plain = question(Some(&seen), &environment);

    let refused = explain(&plain);
    let allowed = explain(&Question {
        reuse: REUSE,
        ..plain
    });

    assert_eq!(
        (refused.would_bind, refused.would_listen, refused.cause),
        (YesNo::No, YesNo::No, Some(Cause::TimeWaitNoReuse))
    );
    assert_eq!(
        refused.summary,
        "Port 8080 is still held by 1 connection in TIME_WAIT; the kernel keeps such a connection for 60 s, so it goes away in 41 s, and SO_REUSEADDR on the new socket would let it bind at once."
    );
    assert_eq!(refused.clears_ms, Some(41_000));
    assert_eq!(refused.would_work.reuseaddr, YesNo::Yes);
    assert_eq!((refused.holders.len(), refused.others.len()), (1, 0));
    assert_eq!((allowed.would_bind, allowed.cause), (YesNo::Yes, None));
    assert_eq!((allowed.holders.len(), allowed.others.len()), (0, 1));
    assert_eq!(
        allowed.summary,
        "Bind and listen on 0.0.0.0:8080 would succeed: one socket is on port 8080 (TIME_WAIT), and it does not stand in the way."
    );
}

#[test]
fn options_that_cannot_be_read_leave_the_answer_open() {
    let unread = SeenHolder {
        reuse: None,
        ..mini(State::TimeWait, 8080, PLAIN, 5_000)
    };
    let seen = seen(vec![unread]);
    let environment = environment();
    let plain = question(Some(&seen), &environment);

    let without = explain(&plain);
    let with = explain(&Question {
        reuse: REUSE,
        ..plain
    });

    assert_eq!(
        without.would_bind,
        YesNo::No,
        "both sides need SO_REUSEADDR, and this one has it not"
    );
    assert_eq!(without.would_work.reuseaddr, YesNo::Unknown);
    assert_eq!(with.would_bind, YesNo::Unknown);
    assert_eq!(with.certainty, Certainty::Likely);
    assert_eq!(with.holders.len(), 1);
    assert_eq!(with.holders[0].reuse, None);
}

#[test]
fn a_port_that_could_not_be_read_is_not_called_free() {
    let missing = ["only root may look".to_owned()];
    let environment = environment();
    let answer = explain(&Question {
        missing: &missing,
        ..question(None, &environment)
    });

    assert_eq!(
        (answer.would_bind, answer.cause, answer.certainty),
        (YesNo::Unknown, Some(Cause::Unknown), Certainty::Unknown)
    );
    assert_eq!(
        answer.summary,
        "Cannot tell whether 0.0.0.0:8080 could be bound: only root may look."
    );
}

#[test]
fn what_is_checked_before_the_port_is_said_first() {
    let listener = held_by(
        holder(State::Listen, "0.0.0.0", 80, PLAIN),
        &[(12, "nginx")],
    );
    let seen = seen(vec![listener]);
    let environment = environment();
    let low = Question {
        port: 80,
        uid: 1000,
        has_net_bind_service: false,
        ..question(Some(&seen), &environment)
    };

    let denied = explain(&low);
    let nowhere = explain(&Question {
        address_error: Some((99, "EADDRNOTAVAIL")),
        ..low
    });

    assert_eq!(denied.cause, Some(Cause::PrivilegedPort));
    assert_eq!(denied.would_work.reuseaddr, YesNo::No);
    assert_eq!(
        denied.summary,
        "Ports below 1024 need CAP_NET_BIND_SERVICE, which a process of user 1000 has not, so bind would be refused with EACCES; besides, 1 socket holds the port."
    );
    assert_eq!((denied.holders.len(), denied.others.len()), (0, 1));
    assert_eq!(nowhere.cause, Some(Cause::AddressNotLocal));
    assert!(nowhere.summary.starts_with("0.0.0.0 is on no interface"));
}

#[test]
fn the_kernels_own_answer_outranks_the_rule() {
    let seen = seen(vec![holder(State::Listen, "0.0.0.0", 8080, PLAIN)]);
    let environment = environment();
    let tried = |ok, name: Option<&str>| Tried {
        ok,
        errno_name: name.map(Into::into),
    };
    let went = tried(true, None);
    let policy = tried(false, Some("EPERM"));
    let plain = question(Some(&seen), &environment);

    let went = explain(&Question {
        tried: Some(&went),
        ..plain
    });
    let policy = explain(&Question {
        tried: Some(&policy),
        ..plain
    });

    assert_eq!(went.would_bind, YesNo::Yes);
    assert_eq!(
        (policy.would_bind, policy.cause),
        (YesNo::No, Some(Cause::DeniedByPolicy))
    );
}

#[test]
fn of_ipv6_only_its_own_option_may_be_known() {
    let listener = |v6only| SeenHolder {
        reuse: None,
        v6only: Some(v6only),
        ..holder(State::Listen, "::", 8080, PLAIN)
    };
    let environment = environment();
    for (v6only, would_bind) in [(true, YesNo::Yes), (false, YesNo::No)] {
        let seen = seen(vec![listener(v6only)]);
        assert_eq!(
            explain(&question(Some(&seen), &environment)).would_bind,
            would_bind
        );
    }
}
