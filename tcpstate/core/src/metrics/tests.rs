use std::sync::Arc;

use super::*;
use crate::engine::Limits;
use crate::event::{Endpoint, Family as SocketFamily, KnownBy, Loss, LossStage, Process};
use crate::event::{Requested, Sock, SocketSeen, Source};

/// `name{labels} value`.
fn lines(families: &[Family]) -> Vec<String> {
    let mut lines = Vec::new();
    for family in families {
        for sample in &family.samples {
            let labels = sample.labels.iter();
            let labels: Vec<String> = labels
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let value = match &sample.value {
                Value::Counter(count) | Value::Gauge(count) => *count,
                Value::Histogram(times) => times.count(),
            };
            lines.push(format!("{}{{{}}} {value}", family.name, labels.join(",")));
        }
    }
    lines
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        addr: [127, 0, 0, 1].into(),
        port,
    }
}

fn sock(cookie: u64) -> Sock {
    Sock {
        cookie,
        netns: 1,
        family: SocketFamily::Ipv4,
    }
}

/// The bind of an own process of each user on a port.
fn failed_bind(port: u16, errno: &str) -> Body {
    let requested = Requested {
        addr: Some(endpoint(port).addr),
        port,
    };
    let process = Process::new(10 + u32::from(port), 1000, "server", KnownBy::Syscall);
    let mut call = Call::new(requested, Arc::new(process));
    call.ok = false;
    call.errno_name = Some(errno.into());
    call.sock = Some(sock(u64::from(port)));
    Body::Bind(Box::new(call))
}

fn listening(port: u16, uid: u32) -> Body {
    let process = Process::new(10, uid, "server", KnownBy::Proc);
    Body::Socket(SocketSeen {
        sock: sock(100_000 + u64::from(port)),
        local: endpoint(port),
        peer: endpoint(0),
        state: State::Listen,
        process: Some(Arc::new(process)),
        reuse: None,
        expires_ms: None,
        processes: None,
        netns_ended: None,
        ended: None,
        source: Source::Snapshot,
    })
}

/// Somebody listens on every port, and has every one refused with an error of its own.
#[test]
fn the_number_of_series_is_bounded_whatever_a_user_does() {
    let mut engine = Engine::new(Limits::default());
    let mut metrics = Metrics::new([443]);
    for port in 1..=u16::MAX {
        let at_ns = u64::from(port);
        engine.observe(at_ns, listening(port, u32::from(port % 7)));
        if port % 16 == 0 {
            engine.observe(at_ns, failed_bind(port, &format!("E{port}")));
        }
        metrics.observe(&engine);
    }

    let families = metrics.families(&engine, "1.2.3");

    let series: usize = families.iter().map(|family| family.samples.len()).sum();
    let ports = 1 + MAX_PORTS + 1;
    // One state, each error on each port at most.
    assert!(series <= ports + ports * (MAX_NAMES + 1) + 1, "{series}");
    let sockets = &families[3];
    assert_eq!(sockets.name, "tcpstate_sockets");
    let counted = sockets.samples.iter().map(|sample| match sample.value {
        Value::Gauge(count) => count,
        _ => 0,
    });
    assert_eq!(counted.sum::<u64>(), 65_535);
    let failed = families[0].samples.iter().map(|sample| match sample.value {
        Value::Counter(count) => count,
        _ => 0,
    });
    assert_eq!(failed.sum::<u64>(), 65_535 / 16);
}

#[test]
fn what_was_counted_of_a_port_that_gives_way_stays_in_the_sum() {
    let mut engine = Engine::new(Limits::default());
    let mut metrics = Metrics::new([]);
    let last = u16::try_from(MAX_PORTS).expect("a port");
    for port in 1..=last {
        engine.observe(1, listening(port, 0));
    }
    engine.observe(2, failed_bind(1, "EADDRINUSE"));
    metrics.observe(&engine);
    let closed = |port| match listening(port, 0) {
        Body::Socket(seen) => Body::Socket(SocketSeen {
            state: State::Closed,
            ..seen
        }),
        other => other,
    };
    engine.observe(3, closed(1));
    engine.observe(4, listening(9000, 0));
    metrics.observe(&engine);

    let lines = lines(&metrics.families(&engine, "1.2.3"));

    let failed: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("tcpstate_failed"))
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].ends_with("port=other} 1"), "{failed:?}");
    assert!(lines.contains(&"tcpstate_sockets{state=listen,port=9000} 1".to_owned()));
}

#[test]
fn sockets_that_are_gone_are_0_and_losses_are_counted() {
    let mut engine = Engine::new(Limits::default());
    let mut metrics = Metrics::new([]);
    engine.observe(1, listening(80, 0));
    metrics.observe(&engine);
    metrics.families(&engine, "1.2.3");
    let Body::Socket(seen) = listening(80, 0) else {
        unreachable!("it is one")
    };
    engine.observe(
        2,
        Body::Socket(SocketSeen {
            state: State::Closed,
            ..seen
        }),
    );
    engine.observe(
        3,
        Body::Loss(Loss {
            stage: LossStage::Kernel,
            count: 7,
            resynced: false,
        }),
    );
    metrics.observe(&engine);

    let lines = lines(&metrics.families(&engine, "1.2.3"));

    assert_eq!(
        lines,
        [
            "tcpstate_sockets{state=listen,port=80} 0",
            "tcpstate_events_lost{stage=kernel} 7",
            "tcpstate_build_info{version=1.2.3} 1"
        ]
    );
}

#[test]
fn a_failed_call_that_is_explained_anew_is_counted_once() {
    let mut engine = Engine::new(Limits::default());
    let mut metrics = Metrics::new([]);
    let body = failed_bind(80, "EADDRINUSE");
    engine.observe(1, body);
    metrics.observe(&engine);
    let of = engine.failures().next().expect("one").seq;
    let late = crate::event::LateHolders {
        of,
        seen: crate::event::Seen::unread(),
    };
    engine.observe(2, Body::Holders(Box::new(late)));
    metrics.observe(&engine);

    let families = metrics.families(&engine, "1.2.3");

    assert_eq!(families[0].samples.len(), 1);
    assert_eq!(families[0].samples[0].value, Value::Counter(1));
}

#[test]
fn a_time_falls_into_the_bucket_that_ends_with_it() {
    let mut times = Histogram::default();
    for ms in [0, 1, 2, 1_000, 400_000] {
        times.observe_ms(ms);
    }

    let filled: Vec<(f64, u64)> = times.buckets().filter(|(_, count)| *count > 0).collect();

    assert_eq!(
        filled,
        [(0.001, 2), (0.01, 1), (1.0, 1), (f64::INFINITY, 1)]
    );
    assert_eq!((times.count(), times.sum_seconds()), (5, 401.003));
}
