//! Strings that strangers chose.

use super::*;

const HOSTILE: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='x",
    "\u{202e}\u{200b}\u{2066}evil",
    "\x1b[2J\r\n\x07|`*_[a](javascript:x)",
    "]]></style><svg/onload=x>",
    "</title><b>",
];

pub(super) fn hostile_report() -> Report {
    let mut scenario = Scenario::empty();
    let mut header = scenario::header(vec![[PORT, PORT]]);
    HOSTILE[0].clone_into(&mut header.host);
    HOSTILE[1].clone_into(&mut header.kernel);
    header.argv = HOSTILE.map(str::to_owned).to_vec();
    header.netns = Some(1);
    header.filters.comms = HOSTILE.map(str::to_owned).to_vec();
    header.probes[0].status = tcpstate::event::ProbeStatus::Unavailable;
    header.probes[0].why = Some(HOSTILE[5].to_owned());
    HOSTILE[6].clone_into(&mut header.probes[0].name);
    scenario.observe(Body::Header(Box::new(header)));
    for (at, text) in HOSTILE.iter().copied().enumerate() {
        let pid = 100 + u32::try_from(at).expect("few");
        let mut server = (*process(text, pid)).clone();
        server.exe = Some(text.into());
        server.container = Some(text.into());
        server.runtime = Some(text.into());
        scenario.netns_name = Some(text.into());
        server.argv = Some([text.to_owned(), "x".repeat(100_000)].into());
        let server = Arc::new(server);
        let port = 9_000 + u16::try_from(at).expect("few");
        let listener = scenario.listen(port, &server);
        let sock = scenario.accept(listener, port, 50_000);
        scenario.stop_listening(listener, port, &server);
        scenario.reset(sock, port, 50_000, &server);
        let sock = scenario.accept(listener, port, 50_001);
        scenario.close_first(sock, port, 50_001, &server);
        scenario.wait_ms(100);
        let held = scenario.held_by_time_wait(port);
        scenario.bind_fails(port, &server, held);
        scenario.listen(port, &server);
    }
    scenario.observe(Body::Footer(Box::new(Footer {
        ended: HOSTILE[2].to_owned(),
        ..Footer::default()
    })));
    report_of(&scenario)
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
