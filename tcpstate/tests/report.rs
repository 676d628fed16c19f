//! The postmortem of a recording: what it says, and that nothing a stranger
//! wrote can become markup.

#[path = "report/calls.rs"]
mod calls;
#[path = "report/page.rs"]
mod page;
#[path = "report/sockets.rs"]
mod sockets;
#[path = "report/strangers.rs"]
mod strangers;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use expect_test::expect_file;
use pulldown_cmark::{Event, Tag};

use support::scenario::{self, PORT, Scenario, process};
use tcpstate::event::{
    Body, Cause, Effect, ExitReason, Family, Fix, Footer, LateHolders, Sock, SocketSeen, Source,
    State,
};
use tcpstate::recording::reader::Reader;
use tcpstate::report::{Builder, Reading, Report, Service, html, markdown};

fn report_of(scenario: &Scenario) -> Report {
    let mut builder = Builder::new();
    for event in scenario.engine.log().iter() {
        builder.observe(event.mono_ns, event.body.clone());
    }
    builder
        .finish(Reading::default())
        .expect("the story has a header")
}

#[test]
fn a_report_never_denies_what_could_not_be_read() {
    let mut scenario = Scenario::empty();
    scenario.observe(Body::Header(Box::new(scenario::header(vec![]))));
    let report = |unreadable_lines| {
        let mut builder = Builder::new();
        for event in scenario.engine.log().iter() {
            builder.observe(event.mono_ns, event.body.clone());
        }
        let reading = Reading {
            unreadable_lines,
            unreadable: vec!["line 7 is longer than 1 MiB".to_owned()],
            ..Reading::default()
        };
        builder.finish(reading).expect("there is a header")
    };

    assert!(report(0).summary[0].contains("no bind or listen failed"));
    for lines in [1, 5] {
        let told = report(lines).summary.join(" ");
        assert!(!told.contains("no bind or listen failed"), "{told}");
        assert!(
            !told.contains("nothing to explain") || told.contains("could be read"),
            "{told}"
        );
        assert!(told.contains("could not be read"), "{told}");
        assert!(
            report(lines)
                .caveats
                .iter()
                .any(|text| text.contains("line 7"))
        );
    }
}

#[test]
fn a_restart_that_failed_three_times_is_told_with_its_downtime() {
    let report = report_of(&scenario::restarted());

    let [restart] = report.restarts.as_slice() else {
        panic!("{:?}", report.restarts);
    };
    let down_ns = restart.again.as_ref().expect("it came back").after_ns - restart.closed.after_ns;
    assert_eq!(restart.downtime_ms, down_ns / 1_000_000);
    assert_eq!(restart.failed_binds, 3);
    let seqs: Vec<u64> = report.failures.iter().map(|failure| failure.seq).collect();
    assert_eq!(restart.failures, seqs);
    assert_eq!(seqs.len(), 3);
    assert_eq!(
        report.failures[0].diagnosis.cause,
        Cause::TimeWaitLeftWithoutReuse
    );
    assert_eq!(
        report.summary,
        [
            "On web1, bind to 0.0.0.0:8080 by nginx[4802] failed with EADDRINUSE 3 times from \
             11:07:11 to 11:07:14 UTC.",
            &report.failures[2].diagnosis.summary,
            "Port 8080 was down for 39.0 s, until nginx[4815] listened on it at 11:07:48 UTC.",
        ]
    );
}

#[test]
fn a_port_that_stays_down_is_told_without_an_end() {
    let report = report_of(&scenario::down());

    let [restart] = report.restarts.as_slice() else {
        panic!("{:?}", report.restarts);
    };
    assert!(restart.again.is_none());
    assert_eq!(restart.failed_binds, 3);
    assert!(
        report.summary[2].starts_with("Nobody listened on port 8080 any more"),
        "{}",
        report.summary[2]
    );
}

#[test]
fn a_recording_without_a_footer_says_that_it_was_cut() {
    let mut scenario = scenario::down();
    assert!(report_of(&scenario).caveats[0].contains("no footer"));

    scenario.observe(Body::Footer(Box::new(Footer {
        ended: "sigint".to_owned(),
        ..Footer::default()
    })));
    let report = report_of(&scenario);

    assert_eq!(report.recording.ended.as_deref(), Some("sigint"));
    assert!(report.recording.is_complete);
    assert!(report.caveats.is_empty(), "{:?}", report.caveats);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut scenario = Scenario::begun();
    let mut builder = Builder::new();
    let server = process("nginx", 7);
    let mut fed = 0;
    for port in 0..2_000_u16 {
        let listener = scenario.listen(10_000 + port, &server);
        scenario.stop_listening(listener, 10_000 + port, &server);
        scenario.wait_ms(5);
        scenario.bind_fails(
            10_000 + port,
            &server,
            scenario.held_by_time_wait(10_000 + port),
        );
        scenario.listen(10_000 + port, &server);
        for event in scenario.engine.log().since(fed) {
            builder.observe(event.mono_ns, event.body.clone());
        }
        fed = scenario.engine.next_seq();
    }
    let report = builder
        .finish(Reading::default())
        .expect("the story has a header");

    let left_out = |what: &str| {
        report
            .left_out
            .iter()
            .find(|left_out| left_out.what == what)
            .map(|left_out| left_out.count)
    };
    assert_eq!(report.failures.len(), 256);
    assert_eq!(left_out("failed calls"), Some(2_000 - 256));
    assert_eq!(report.restarts.len(), 256);
    assert_eq!(left_out("restarts"), Some(2_000 - 256));
    assert_eq!(report.ports.len(), 64);
    assert_eq!(report.sockets.len(), 48);
    assert!(html::render(&report).len() < 3_000_000);
}

#[test]
fn every_page_is_well_formed_and_loads_nothing() {
    for scenario in [
        scenario::serving().0,
        scenario::down(),
        scenario::restarted(),
        Scenario::begun(),
    ] {
        page::check(&html::render(&report_of(&scenario)));
    }
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let scenario = scenario::restarted();

    assert_eq!(
        html::render(&report_of(&scenario)),
        html::render(&report_of(&scenario))
    );
    assert_eq!(
        markdown::render(&report_of(&scenario)),
        markdown::render(&report_of(&scenario))
    );
}

#[test]
fn the_json_has_the_shape_that_its_schema_says() {
    let schema = serde_json::to_value(tcpstate::report::schema()).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");

    for report in [
        strangers::hostile_report(),
        report_of(&scenario::restarted()),
    ] {
        let json = serde_json::to_value(&report).expect("a report is JSON");
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// Recordings of real runs, and their reports: `UPDATE_EXPECT=1` writes these anew.
const RUNS: [&str; 2] = ["restart", "with-reuse"];

#[test]
fn no_report_is_left_over() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    let files = RUNS.map(|name| [format!("{name}.jsonl"), format!("{name}.md")]);

    support::assert_no_file_but(&folder, files.as_flattened());
}

#[test]
fn the_reports_of_two_real_runs_read_as_kept() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/report");
    for name in RUNS {
        let recording =
            fs::read(folder.join(format!("{name}.jsonl"))).expect("the recording is kept");
        let mut builder = Builder::new();
        for event in Reader::new(recording.as_slice()) {
            let event = event.expect("every line can be read");
            builder.observe(event.mono_ns, event.body);
        }
        let report = builder.finish(Reading::default()).expect("it has a header");
        let made = markdown::render(&report);
        expect_file![folder.join(format!("{name}.md"))].assert_eq(&made);
        page::check(&html::render(&report));
    }
}

#[test]
fn a_restarts_picture_counts_what_is_in_it() {
    let mut report = report_of(&scenario::restarted());
    let begins = report.recording.begins.clone();
    let port = &mut report.ports[0];
    let mut before = port.failed_calls[0].clone();
    before.at = begins;
    port.failed_calls.insert(0, before);
    port.failed_total += 1;

    let page = html::render(&report);

    let (restarts, ports) = page.split_once("Ports over time").expect("both are there");
    assert!(restarts.contains("3 failed calls") && !restarts.contains("4 failed calls"));
    assert!(ports.contains("4 failed calls"));
}
