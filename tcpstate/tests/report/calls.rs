//! Failed calls in a report.

use super::*;

#[test]
fn counted_calls_are_in_the_report_s_counts() {
    let mut scenario = Scenario::empty();
    scenario.observe(Body::Header(Box::new(scenario::header(vec![]))));
    let nginx = process("nginx", 4802);
    scenario.bind_fails(PORT, &nginx, vec![]);
    let Some(Body::Bind(first)) = scenario
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
    scenario.observe(Body::Bind(sum));
    scenario.observe(Body::Flood(tcpstate::event::Flood {
        call: tcpstate::event::CallName::Bind,
        uid: 1000,
        pid: 5,
        comm: "hog".to_owned(),
        count: 7,
    }));

    let report = report_of(&scenario);

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
fn a_call_whose_holder_is_found_later_is_listed_once_with_its_name() {
    let mut scenario = scenario::down();
    let (server, second) = (process("nginx", 4802), process("nginx", 4815));
    let mut holder = scenario.held_by_time_wait(PORT).remove(0);
    holder.state = State::Listen;
    holder.peer.port = 0;
    (holder.is_mini, holder.expires_ms) = (false, None);
    holder.inode = Some(9);
    scenario.bind_fails(PORT, &second, vec![holder.clone()]);
    let failure = scenario.engine.failures().next_back().expect("it failed");
    let (of, call) = (failure.seq, Arc::clone(&failure.call));
    assert_eq!(failure.diagnosis.holders[0].processes, None);

    let mut seen = call.seen.clone().expect("it was looked at");
    seen.holders[0].processes = Some(vec![Arc::clone(&server)]);
    scenario.observe(Body::Holders(Box::new(LateHolders { of, seen })));

    let diagnoses = scenario
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
    let kept = scenario
        .engine
        .failures()
        .filter(|failure| failure.seq == of);
    let [kept] = kept.collect::<Vec<_>>()[..] else {
        panic!("it has failed once");
    };
    assert_eq!(*kept.diagnosis, **completed);

    let report = report_of(&scenario);
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
fn a_loss_names_the_calls_that_it_makes_uncertain() {
    let mut scenario = Scenario::begun();
    let server = process("nginx", 7);
    let listener = scenario.listen(PORT, &server);
    scenario.stop_listening(listener, PORT, &server);
    scenario.bind_fails(PORT, &server, Vec::new());
    scenario.wait_ms(10);
    scenario.lose(5, false);
    scenario.bind_fails(PORT, &server, Vec::new());
    scenario.wait_ms(10);
    scenario.lose(0, true);
    scenario.wait_ms(10);
    scenario.bind_fails(PORT, &server, Vec::new());
    let report = report_of(&scenario);

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
fn a_call_in_another_namespace_says_where_its_commands_are_for() {
    for (name, netns) in [(Some("blue"), "netns blue"), (None, "netns 4026531992")] {
        let report = report_of(&scenario::elsewhere(name));
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
    let ours = markdown::render(&report_of(&scenario::down()));
    assert!(ours.contains("UTC and of host web1: look again"), "{ours}");
    assert!(!ours.contains("- where:"), "{ours}");
}

#[test]
fn a_command_that_ends_something_is_marked() {
    let mut report = report_of(&scenario::down());
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
