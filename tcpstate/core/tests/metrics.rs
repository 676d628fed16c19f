//! What is counted of recordings of the real kernel, and of whoever wants many series.

use std::sync::Arc;

use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::event::{
    Body, Call, Endpoint, Family as SocketFamily, KnownBy, LateHolders, Loss, LossStage, Process,
    Requested, Seen, Sock, SocketSeen, Source, State,
};
use tcpstate_core::export::json;
use tcpstate_core::metrics::{Family, MAX_NAMES, MAX_PORTS, Metrics, Value};

/// `name{labels} value`; of a histogram how many and how long in all.
fn lines(families: &[Family]) -> Vec<String> {
    let mut lines = Vec::new();
    for family in families {
        for sample in &family.samples {
            let labels = sample.labels.iter();
            let labels: Vec<String> = labels
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let value = match &sample.value {
                Value::Counter(count) | Value::Gauge(count) => count.to_string(),
                Value::Histogram(times) => {
                    format!("{} in {} s", times.count(), times.sum_seconds())
                }
            };
            lines.push(format!("{}{{{}}} {value}", family.name, labels.join(",")));
        }
    }
    lines
}

fn counted(recording: &str, ports: &[u16]) -> Vec<String> {
    let mut engine = Engine::new(Limits::default());
    let mut metrics = Metrics::new(ports.iter().copied());
    for line in recording.lines() {
        let (_, event) = json::read_line(line.as_bytes()).expect("a recording");
        if let Some(event) = event {
            engine.observe(event.mono_ns, event.body);
            metrics.observe(&engine);
        }
    }
    lines(&metrics.families(&engine, "1.2.3"))
}

#[test]
fn a_failed_bind_is_counted_with_its_cause() {
    let recording = include_str!("../../tests/data/report/restart.jsonl");
    let failed = "tcpstate_failed_calls{call=bind,errno=EADDRINUSE,\
                  cause=time_wait_left_without_reuse,proto=tcp,port=";

    assert_eq!(counted(recording, &[443])[0], format!("{failed}8080}} 1"));
}

#[test]
fn a_restart_is_counted_with_its_downtime() {
    let recording = include_str!("../../tests/data/report/with-reuse.jsonl");

    let lines = counted(recording, &[]);

    assert_eq!(
        lines,
        [
            "tcpstate_restarts{port=8080} 1",
            "tcpstate_restart_downtime_seconds{port=8080} 1 in 0.155 s",
            "tcpstate_sockets{state=time_wait,port=8080} 1",
            "tcpstate_sockets{state=listen,port=8080} 1",
            "tcpstate_build_info{version=1.2.3} 1",
        ]
    );
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
    let late = LateHolders {
        of,
        seen: Seen::unread(),
    };
    engine.observe(2, Body::Holders(Box::new(late)));
    metrics.observe(&engine);

    let families = metrics.families(&engine, "1.2.3");

    assert_eq!(families[0].samples.len(), 1);
    assert_eq!(families[0].samples[0].value, Value::Counter(1));
}
