//! A port: who listens, what failed, every restart.

use crate::model::{Phase, PortKey};
use crate::tui::draw::detail::parts::{gone, process};
use crate::tui::draw::page::Page;
use crate::tui::draw::ports::description::PortDescription;
use crate::tui::draw::ports::lane;
use crate::tui::state::panel::Subject;
use crate::tui::state::problems::port_of;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units::{self, NS_PER_MS};

/// Failures that are listed, the latest ones.
const MAX_FAILURES: usize = 20;

pub(crate) fn text(view: &View<'_>, key: PortKey, width: usize) -> Page {
    let Some(scenario) = view.ports.get(&key) else {
        return gone("port", width);
    };
    let mut text = Page::new(format!("port {}", key.port), width);
    for line in lane::lines(&PortDescription::plain(view, key, scenario), width) {
        text.line(line);
    }
    text.blank();
    let ago = |at_ns: u64| units::age(view.now_ns.saturating_sub(at_ns));
    match &scenario.phase {
        Phase::Listening {
            since_ns,
            is_since_known,
            ..
        } => {
            let word = if *is_since_known {
                "for"
            } else {
                "for at least"
            };
            let state = format!("listening {word} {}", ago(*since_ns));
            text.field("now", &state, Tone::Good);
        }
        Phase::Down {
            since_ns,
            closed_seq,
            old_process,
        } => {
            let down = units::exact(view.now_ns.saturating_sub(*since_ns));
            text.field(
                "now",
                &format!("down for {down}, since event #{closed_seq}"),
                Tone::Bad,
            );
            if let Some(old) = old_process {
                process(&mut text, "was", old);
            }
        }
        Phase::NeverListened => text.field("now", "nobody has been seen to listen", Tone::Bad),
    }
    text.field("netns", &key.netns.to_string(), Tone::Dim);
    for listener in &scenario.listeners {
        text.field("listener", &listener.local.to_string(), Tone::Text);
        if let Some(owner) = &listener.process {
            process(&mut text, "", owner);
        }
    }
    if let Some((seq, at_ns, by)) = &scenario.last_bind {
        let bound = format!("{by}, {} ago, event #{seq}", ago(*at_ns));
        text.field("last bind", &bound, Tone::Text);
    }
    text.heading(&format!("restarts: {}", scenario.restarts.len()));
    for (at_ns, restart) in scenario.restarts.iter().rev() {
        let time = units::time_of_day(view.anchor(), *at_ns);
        let down = units::exact(restart.downtime_ms.saturating_mul(NS_PER_MS));
        let name = |process: &Option<std::sync::Arc<crate::event::Process>>| {
            process
                .as_ref()
                .map_or_else(|| "unknown".to_owned(), ToString::to_string)
        };
        let summary = format!(
            "down {down}, bind failed {}×, {} → {}",
            restart.failed_binds,
            name(&restart.old_process),
            name(&restart.new_process)
        );
        text.link(Subject::Event(restart.listen_again_seq));
        text.pair(14, &time, &summary, Tone::Dim);
    }
    if !scenario.fallbacks.is_empty() {
        text.heading("fallbacks");
        for (at_ns, fallback) in scenario.fallbacks.iter().rev() {
            let time = units::time_of_day(view.anchor(), *at_ns);
            let summary = format!(
                "{} failed, {} took :{} instead, event #{}",
                fallback.failed_ports(),
                fallback.process,
                fallback.took,
                fallback.took_seq
            );
            text.link(Subject::Event(fallback.took_seq));
            text.pair(14, &time, &summary, Tone::Dim);
        }
    }
    text.heading(&format!("failed calls: {}", scenario.failed_total));
    let failures = view.failures.iter().rev();
    let mut previous = None;
    for failure in failures
        .filter(|failure| port_of(failure) == key)
        .take(MAX_FAILURES)
    {
        let time = units::time_of_day(view.anchor(), failure.mono_ns);
        // Retries have the same diagnosis, but for the seconds.
        let diagnosis = &failure.diagnosis;
        let summary = if previous == Some((diagnosis.cause, diagnosis.holders.len())) {
            format!("{}, as after it", diagnosis.cause.name())
        } else {
            format!("{}: {}", diagnosis.cause.name(), diagnosis.summary)
        };
        previous = Some((diagnosis.cause, diagnosis.holders.len()));
        text.link(Subject::Failure(failure.seq));
        text.pair(14, &time, &summary, Tone::Dim);
    }
    text
}
