//! What is counted of a recording of the real kernel.

use tcpstate_core::engine::{Engine, Limits};
use tcpstate_core::export::json;
use tcpstate_core::metrics::{Family, Metrics, Value};

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
