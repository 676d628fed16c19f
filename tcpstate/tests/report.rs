//! The postmortem of a recording: what it says, and that nothing a stranger
//! wrote can become markup.

use support::story;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use expect_test::expect_file;
use pulldown_cmark::{Event, Tag};
use story::{PORT, Story, process};
use tcpstate::event::{
    Body, Cause, Effect, ExitReason, Family, Fix, Footer, LateHolders, Sock, SocketSeen, Source,
    State,
};
use tcpstate::recording::reader::Reader;
use tcpstate::report::{Builder, Reading, Report, Service, html, markdown};

fn report_of(story: &Story) -> Report {
    let mut builder = Builder::new();
    for event in story.engine.log().iter() {
        builder.observe(event.mono_ns, event.body.clone());
    }
    builder
        .finish(Reading::default())
        .expect("the story has a header")
}

#[test]
fn counted_calls_are_in_the_report_s_counts() {
    let mut story = Story::empty();
    story.tell(Body::Header(Box::new(story::header(vec![]))));
    let nginx = process("nginx", 4802);
    story.bind_fails(PORT, &nginx, vec![]);
    let Some(Body::Bind(first)) = story
        .engine
        .log()
        .iter()
        .map(|event| event.body.clone())
        .find(|body| matches!(body, Body::Bind(_)))
    else {
        panic!("a bind has failed");
    };
    let mut sum = first;
    (sum.repeated, sum.is_sum, sum.seen) = (99, true, None);
    story.tell(Body::Bind(sum));
    story.tell(Body::Flood(tcpstate::event::Flood {
        call: tcpstate::event::CallName::Bind,
        uid: 1000,
        pid: 5,
        comm: "hog".to_owned(),
        count: 7,
    }));

    let report = report_of(&story);

    let [kind] = report.failure_counts.as_slice() else {
        panic!("{:?}", report.failure_counts);
    };
    assert_eq!((kind.count, kind.port), (101, PORT));
    assert_eq!((report.floods[0].uid, report.floods[0].count), (1000, 7));
    assert!(
        report.summary[0].contains("101 times"),
        "{:?}",
        report.summary
    );
    let told = report
        .caveats
        .iter()
        .find(|text| text.contains("7 bind calls"));
    assert!(
        told.is_some_and(|text| text.contains("hog")),
        "{:?}",
        report.caveats
    );
}

#[test]
fn a_report_never_denies_what_could_not_be_read() {
    let mut story = Story::empty();
    story.tell(Body::Header(Box::new(story::header(vec![]))));
    let report = |unreadable_lines| {
        let mut builder = Builder::new();
        for event in story.engine.log().iter() {
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
fn a_call_whose_holder_is_found_later_is_listed_once_with_its_name() {
    let mut story = story::down();
    let (server, second) = (process("nginx", 4802), process("nginx", 4815));
    let mut holder = story.held_by_time_wait(PORT).remove(0);
    holder.state = State::Listen;
    holder.peer.port = 0;
    (holder.is_mini, holder.expires_ms) = (false, None);
    holder.inode = Some(9);
    story.bind_fails(PORT, &second, vec![holder.clone()]);
    let failure = story.engine.failures().next_back().expect("it failed");
    let (of, call) = (failure.seq, Arc::clone(&failure.call));
    assert_eq!(failure.diagnosis.holders[0].processes, None);

    let mut seen = call.seen.clone().expect("it was looked at");
    seen.holders[0].processes = Some(vec![Arc::clone(&server)]);
    story.tell(Body::Holders(Box::new(LateHolders { of, seen })));

    let diagnoses = story
        .engine
        .log()
        .iter()
        .filter_map(|event| match &event.body {
            Body::Diagnosis(diagnosis) if diagnosis.of == of => Some(diagnosis),
            _ => None,
        });
    let [first, completed] = diagnoses.collect::<Vec<_>>()[..] else {
        panic!("one, and another that completes it");
    };
    assert_eq!(first.cause, completed.cause);
    assert!(completed.summary.contains("nginx[4802]"), "{completed:?}");
    let kept = story.engine.failures().filter(|failure| failure.seq == of);
    let [kept] = kept.collect::<Vec<_>>()[..] else {
        panic!("it has failed once");
    };
    assert_eq!(*kept.diagnosis, **completed);

    let report = report_of(&story);
    let listed = report.failures.iter().filter(|listed| listed.seq == of);
    let [listed] = listed.collect::<Vec<_>>()[..] else {
        panic!("{:?}", report.failures);
    };
    assert_eq!(listed.diagnosis.summary, completed.summary);
    let counts = report.failure_counts.iter();
    let like_it: Vec<u64> = counts
        .filter(|kind| kind.cause == completed.cause)
        .map(|kind| kind.count)
        .collect();
    assert_eq!(like_it, [1]);
}

#[test]
fn a_restart_that_failed_three_times_is_told_with_its_downtime() {
    let report = report_of(&story::restarted());

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
fn the_ports_spans_have_no_gaps_and_carry_its_marks() {
    let report = report_of(&story::restarted());

    let [port] = report.ports.as_slice() else {
        panic!("{:?}", report.ports);
    };
    let services: Vec<Service> = port.spans.iter().map(|span| span.service).collect();
    assert_eq!(
        services,
        [
            Service::NotSeen,
            Service::Listening,
            Service::Down,
            Service::Listening
        ]
    );
    assert_eq!(port.spans[0].from.after_ns, 0);
    for pair in port.spans.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
    }
    assert_eq!(port.spans[3].to, report.recording.ends);
    assert_eq!(port.failed_calls.len(), 3);
    let most = port.time_wait.iter().map(|held| held.most).max();
    assert_eq!(most, Some(12), "{:?}", port.time_wait);
}

#[test]
fn the_holders_are_the_sockets_that_are_shown() {
    let report = report_of(&story::restarted());

    for holder in &report.failures[0].diagnosis.holders {
        let socket = report
            .sockets
            .iter()
            .find(|socket| socket.sock == holder.sock)
            .expect("every holder is followed");
        let states: Vec<State> = socket.states.iter().map(|span| span.state).collect();
        assert_eq!(
            states,
            [
                State::SynReceived,
                State::Established,
                State::FinWait1,
                State::FinWait2,
                State::TimeWait
            ]
        );
        for pair in socket.states.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
        }
    }
}

/// Before Linux 5.12 a socket gets its cookie when somebody asks for it.
#[test]
fn a_listener_that_has_got_its_cookie_since_is_one_socket() {
    let mut story = Story::begun();
    let server = process("nginx", 7);
    let nameless = Sock {
        cookie: 0,
        netns: story::NETNS,
        family: Family::Ipv4,
    };
    story.listen_with(nameless, PORT, &server);
    story.wait_ms(10);
    let named = Sock {
        cookie: 9,
        ..nameless
    };
    story.stop_listening(named, PORT, &server);
    story.wait_ms(5_000);
    story.listen(PORT, &server);
    story.wait_ms(10);
    let report = report_of(&story);

    assert!(report.restarts[0].again.is_some());
    let listeners: Vec<_> = report.sockets.iter().map(|socket| socket.sock).collect();
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    let first = &report.sockets[0];
    assert_eq!(first.sock, named);
    let end_ns = first.states[0].to.after_ns;
    assert_eq!(end_ns, report.restarts[0].closed.after_ns);
}

#[test]
fn a_time_wait_that_has_got_its_cookie_since_ends_as_the_same() {
    let mut story = Story::begun();
    let server = process("nginx", 7);
    let listener = story.listen(PORT, &server);
    let nameless = Sock {
        cookie: 0,
        ..listener
    };
    story.close_first(nameless, PORT, 40_000, &server);
    story.wait_ms(5_000);
    let mini = story.engine.table().iter().find(|socket| socket.is_mini);
    let mini = mini.expect("it is in TIME_WAIT");
    let end = SocketSeen {
        sock: Sock {
            cookie: 9,
            ..nameless
        },
        local: mini.local,
        peer: mini.peer,
        state: State::Closed,
        process: None,
        reuse: None,
        expires_ms: Some(0),
        processes: None,
        netns_ended: None,
        ended: Some(ExitReason::Destroyed),
        source: Source::Kernel,
    };
    story.tell(Body::Socket(end));
    let end_ns = story.now_ns;
    story.wait_ms(5_000);
    let report = report_of(&story);

    let [held] = report.ports[0].time_wait.as_slice() else {
        panic!("{:?}", report.ports[0].time_wait);
    };
    assert_eq!(held.to.after_ns, end_ns - story::START_NS);
}

#[test]
fn a_port_that_stays_down_is_told_without_an_end() {
    let report = report_of(&story::down());

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
    let mut story = story::down();
    assert!(report_of(&story).caveats[0].contains("no footer"));

    story.tell(Body::Footer(Box::new(Footer {
        ended: "sigint".to_owned(),
        ..Footer::default()
    })));
    let report = report_of(&story);

    assert_eq!(report.recording.ended.as_deref(), Some("sigint"));
    assert!(report.recording.is_complete);
    assert!(report.caveats.is_empty(), "{:?}", report.caveats);
}

#[test]
fn a_loss_names_the_calls_that_it_makes_uncertain() {
    let mut story = Story::begun();
    let server = process("nginx", 7);
    let listener = story.listen(PORT, &server);
    story.stop_listening(listener, PORT, &server);
    story.bind_fails(PORT, &server, Vec::new());
    story.wait_ms(10);
    story.lose(5, false);
    story.bind_fails(PORT, &server, Vec::new());
    story.wait_ms(10);
    story.lose(0, true);
    story.wait_ms(10);
    story.bind_fails(PORT, &server, Vec::new());
    let report = report_of(&story);

    let [window] = report.losses.windows.as_slice() else {
        panic!("{:?}", report.losses);
    };
    assert_eq!(window.count, 5);
    assert!(window.to.is_some());
    assert_eq!(window.failures, [report.failures[1].seq]);
    assert!(
        report
            .caveats
            .iter()
            .any(|text| text.contains("5 events were lost"))
    );
}

#[test]
fn resets_are_counted_by_reason() {
    let mut story = Story::begun();
    let server = process("nginx", 7);
    let listener = story.listen(PORT, &server);
    for peer_port in 0..5 {
        let sock = story.accept(listener, PORT, 50_000 + peer_port);
        story.reset(sock, PORT, 50_000 + peer_port, &server);
    }
    let report = report_of(&story);

    let [kind] = report.resets.as_slice() else {
        panic!("{:?}", report.resets);
    };
    assert_eq!(kind.count, 5);
    assert_eq!(kind.reason.as_deref(), Some("tcp_abort_on_close"));
}

/// One host sees both ends of a connection, and RSTs that answer to no socket.
#[test]
fn resets_are_not_taken_for_so_many_connections() {
    let mut story = Story::begun();
    let server = process("nginx", 7);
    let listener = story.listen(PORT, &server);
    let sock = story.accept(listener, PORT, 50_000);
    story.reset(sock, PORT, 50_000, &server);
    story.reset(sock, PORT, 50_000, &server);
    story.stop_listening(listener, PORT, &server);
    story.wait_ms(100);
    story.listen(PORT, &process("nginx", 8));

    let page = markdown::render(&report_of(&story));

    assert!(page.contains("2 resets were seen"), "{page}");
    assert!(!page.contains("connections were"), "{page}");
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut story = Story::begun();
    let mut builder = Builder::new();
    let server = process("nginx", 7);
    let mut fed = 0;
    for port in 0..2_000_u16 {
        let listener = story.listen(10_000 + port, &server);
        story.stop_listening(listener, 10_000 + port, &server);
        story.wait_ms(5);
        story.bind_fails(
            10_000 + port,
            &server,
            story.held_by_time_wait(10_000 + port),
        );
        story.listen(10_000 + port, &server);
        for event in story.engine.log().since(fed) {
            builder.observe(event.mono_ns, event.body.clone());
        }
        fed = story.engine.next_seq();
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

const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='x",
    "\u{202e}\u{200b}\u{2066}evil",
    "\x1b[2J\r\n\x07|`*_[a](javascript:x)",
    "]]></style><svg/onload=x>",
    "</title><b>",
];

fn hostile_report() -> Report {
    let mut story = Story::empty();
    let mut header = story::header(vec![[PORT, PORT]]);
    HOSTILE[0].clone_into(&mut header.host);
    HOSTILE[1].clone_into(&mut header.kernel);
    header.argv = HOSTILE.map(str::to_owned).to_vec();
    header.netns = Some(1);
    header.filters.comms = HOSTILE.map(str::to_owned).to_vec();
    header.probes[0].status = tcpstate::event::ProbeStatus::Unavailable;
    header.probes[0].why = Some(HOSTILE[5].to_owned());
    HOSTILE[6].clone_into(&mut header.probes[0].name);
    story.tell(Body::Header(Box::new(header)));
    for (at, text) in HOSTILE.iter().copied().enumerate() {
        let pid = 100 + u32::try_from(at).expect("few");
        let mut server = (*process(text, pid)).clone();
        server.exe = Some(text.into());
        server.container = Some(text.into());
        server.runtime = Some(text.into());
        story.netns_name = Some(text.into());
        server.argv = Some([text.to_owned(), "x".repeat(100_000)].into());
        let server = Arc::new(server);
        let port = 9_000 + u16::try_from(at).expect("few");
        let listener = story.listen(port, &server);
        let sock = story.accept(listener, port, 50_000);
        story.stop_listening(listener, port, &server);
        story.reset(sock, port, 50_000, &server);
        let sock = story.accept(listener, port, 50_001);
        story.close_first(sock, port, 50_001, &server);
        story.wait_ms(100);
        let held = story.held_by_time_wait(port);
        story.bind_fails(port, &server, held);
        story.listen(port, &server);
    }
    story.tell(Body::Footer(Box::new(Footer {
        ended: HOSTILE[2].to_owned(),
        ..Footer::default()
    })));
    report_of(&story)
}

#[test]
fn strings_of_strangers_do_not_become_elements() {
    let page = html::render(&hostile_report());

    let seen = page::check(&page);
    assert!(
        seen.text.contains("<script>alert(1)</script>"),
        "shown as text"
    );
    assert!(!page.contains(['\u{202e}', '\u{200b}', '\u{2066}', '\x1b', '\x07']));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn strings_of_strangers_do_not_become_markdown() {
    let text = markdown::render(&hostile_report());

    assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{2066}', '\x1b', '\x07', '\r']));
    let options = pulldown_cmark::Options::ENABLE_TABLES;
    for event in pulldown_cmark::Parser::new_ext(&text, options) {
        assert!(
            !matches!(
                event,
                Event::Html(_)
                    | Event::InlineHtml(_)
                    | Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock)
            ),
            "{event:?}"
        );
    }
}

#[test]
fn a_call_in_another_namespace_says_where_its_commands_are_for() {
    for (name, netns) in [(Some("blue"), "netns blue"), (None, "netns 4026531992")] {
        let report = report_of(&story::elsewhere(name));
        let json = serde_json::to_value(&report).expect("a report is JSON");
        let of_then = format!(
            "Commands are of 2026-11-18 11:06:46 UTC and of host web1, in {netns}, in docker \
             container 0123456789ab: look again before you run one."
        );

        let text = markdown::render(&report);
        let place = format!("- where: in {netns}, in docker container 0123456789ab\n");
        assert!(text.contains(&place), "{text}");
        // Once for what to do, once for the call in full.
        assert_eq!(text.matches(&of_then).count(), 2, "{text}");
        let seen = page::check(&html::render(&report));
        assert_eq!(seen.text.matches(&of_then).count(), 2, "{}", seen.text);
        let start = format!("On web1 in {netns}, bind to");
        assert!(
            report.summary[0].starts_with(&start),
            "{:?}",
            report.summary
        );
        assert_eq!(json["environment"]["netns"], 4_026_531_840_u32);
        assert_eq!(json["failures"][0]["netns"], 4_026_531_992_u32);
        assert_eq!(json["failures"][0]["netns_name"].as_str(), name);
    }
    let ours = markdown::render(&report_of(&story::down()));
    assert!(ours.contains("UTC and of host web1: look again"), "{ours}");
    assert!(!ours.contains("- where:"), "{ours}");
}

#[test]
fn a_command_that_ends_something_is_marked() {
    let mut report = report_of(&story::down());
    let count = |report: &Report, what: &str| {
        let page = html::render(report);
        let text = markdown::render(report);
        (page.matches(what).count(), text.matches(what).count())
    };
    let all = report.failures.iter_mut();
    for fix in all.flat_map(|failure| &mut failure.diagnosis.fixes) {
        fix.effect = None;
    }
    let marked = &mut report.failures[2].diagnosis.fixes;
    let mark = "ends connections or processes";
    let runnable = |fix: &&mut Fix| fix.command.is_some() && fix.language.is_none();
    let fix = marked.iter_mut().find(runnable).expect("it has a command");
    fix.effect = Some(Effect::Destroys);

    // In what to do, and in the call itself.
    assert_eq!(count(&report, mark), (2, 2));
    assert!(html::render(&report).contains(&format!("<span class=\"chip\">{mark}")));
    report.failures[2].diagnosis.fixes.clear();
    assert_eq!(count(&report, mark), (0, 0));
}

#[test]
fn every_page_is_well_formed_and_loads_nothing() {
    for story in [
        story::serving().0,
        story::down(),
        story::restarted(),
        Story::begun(),
    ] {
        page::check(&html::render(&report_of(&story)));
    }
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let story = story::restarted();

    assert_eq!(
        html::render(&report_of(&story)),
        html::render(&report_of(&story))
    );
    assert_eq!(
        markdown::render(&report_of(&story)),
        markdown::render(&report_of(&story))
    );
}

#[test]
fn the_json_has_the_shape_that_its_schema_says() {
    let schema = serde_json::to_value(tcpstate::report::schema()).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");

    for report in [hostile_report(), report_of(&story::restarted())] {
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
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_used = stem.is_some_and(|stem| RUNS.contains(&stem));
        assert!(is_used, "{}", path.display());
    }
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

/// Reads a page as a browser does.
mod page {
    use std::cell::RefCell;

    use html5ever::tendril::StrTendril;
    use html5ever::tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
    };

    const VOID: [&str; 2] = ["meta", "br"];
    const ELEMENTS: &[&str] = &[
        "a", "article", "b", "body", "circle", "code", "dd", "defs", "desc", "details", "div",
        "dl", "dt", "footer", "g", "h1", "h2", "h3", "h4", "head", "header", "html", "li", "line",
        "main", "p", "path", "pattern", "pre", "rect", "section", "span", "strong", "style",
        "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "time", "title", "tr",
        "ul",
    ];

    #[derive(Default)]
    pub(crate) struct Seen {
        open: Vec<String>,
        ids: Vec<String>,
        links: Vec<String>,
        pub(crate) text: String,
    }

    struct Sink(RefCell<Seen>);

    impl TokenSink for Sink {
        type Handle = ();

        fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
            let mut seen = self.0.borrow_mut();
            match token {
                Token::ParseError(error) => panic!("not well-formed: {error}"),
                Token::TagToken(tag) => seen.tag(&tag),
                Token::CharacterTokens(text) => seen.text.push_str(&text),
                Token::CommentToken(_) => panic!("a comment"),
                Token::DoctypeToken(_) | Token::NullCharacterToken | Token::EOFToken => {}
            }
            TokenSinkResult::Continue
        }
    }

    impl Seen {
        fn tag(&mut self, tag: &Tag) {
            let name = tag.name.to_string();
            if VOID.contains(&name.as_str()) {
                return;
            }
            assert!(ELEMENTS.contains(&name.as_str()), "an element <{name}>");
            for attribute in &tag.attrs {
                let key = attribute.name.local.to_string();
                assert!(
                    !key.starts_with("on") && key != "src" && key != "style",
                    "<{name} {key}>"
                );
                match key.as_str() {
                    "href" => self.links.push(attribute.value.to_string()),
                    "id" => self.ids.push(attribute.value.to_string()),
                    _ => {}
                }
            }
            match tag.kind {
                TagKind::StartTag if !tag.self_closing => self.open.push(name),
                TagKind::StartTag => {}
                TagKind::EndTag => assert_eq!(self.open.pop().as_deref(), Some(name.as_str())),
            }
        }
    }

    /// Everything is closed, known, and within the page.
    #[track_caller]
    pub(crate) fn check(page: &str) -> Seen {
        let sink = Sink(RefCell::default());
        let tokenizer = Tokenizer::new(
            sink,
            TokenizerOpts {
                exact_errors: true,
                ..TokenizerOpts::default()
            },
        );
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(page));
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        let seen = tokenizer.sink.0.into_inner();
        assert!(seen.open.is_empty(), "never closed: {:?}", seen.open);
        for link in &seen.links {
            let target = link.strip_prefix('#').expect("links stay on the page");
            assert!(
                seen.ids.iter().any(|id| id == target),
                "{link} leads nowhere"
            );
        }
        let mut ids = seen.ids.clone();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), seen.ids.len(), "an id twice");
        assert!(!page.contains("http://") && !page.contains("https://"));
        seen
    }
}

#[test]
fn a_restarts_picture_counts_what_is_in_it() {
    let mut report = report_of(&story::restarted());
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
