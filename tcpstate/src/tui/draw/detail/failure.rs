//! A diagnosis in full: holders, evidence, fixes, how certain, what is missing.

use crate::event::{Applies, Effect, Fix, Reuse, WouldWork, YesNo};
use crate::tui::draw::detail::holders;
use crate::tui::draw::detail::parts::{gone, process};
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::options as options_text;
use crate::tui::draw::phrases::{certainty, fix_text, free, verb, wanted};
use crate::tui::state::advice;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units;

pub(crate) fn text(view: &View<'_>, seq: u64, width: usize, is_replay: bool) -> Page {
    let Some(failure) = view.failure(seq) else {
        return gone("failure", width);
    };
    let call = &failure.call;
    let diagnosis = &failure.diagnosis;
    let errno = call.errno_name.as_deref().unwrap_or("error not known");
    let mut text = Page::new(
        format!("{} {} failed: {errno}", verb(failure.kind), wanted(failure)),
        width,
    );
    text.paragraph(&diagnosis.summary, Tone::Strong);
    text.blank();
    if let Some((free, tone)) = free(view, failure) {
        text.field("port", &free, tone);
    }
    text.field(
        "cause",
        &format!(
            "{}, {}",
            diagnosis.cause.name(),
            certainty(diagnosis.certainty)
        ),
        Tone::Bad,
    );
    if let Some(made_in) = advice::failed_in(view, failure) {
        text.field("where", &made_in, Tone::Warn);
    }
    if !diagnosis.fixes.is_empty() {
        if is_replay {
            let then = advice::failed_at(view, failure);
            text.heading(&format!("what to do, as of {then}"));
            text.paragraph("Look again before you run a command of then.", Tone::Warn);
        } else {
            text.heading("what to do");
        }
        for fix in &diagnosis.fixes {
            fix_lines(
                &mut text,
                fix,
                &if *fix.id == *"wait" {
                    fix_text(fix, failure, view)
                } else {
                    fix.text.clone()
                },
            );
        }
    }
    holders::draw(&mut text, failure, view);
    holders::evidence(&mut text, failure, view);
    text.heading("the call");
    let time = units::time_of_day(view.anchor(), failure.mono_ns);
    let ago = units::age(view.now_ns.saturating_sub(failure.mono_ns));
    text.field(
        "when",
        &format!("{time}, {ago} ago, event #{seq}"),
        Tone::Text,
    );
    process(&mut text, "caller", &call.process);
    if let Some(netns) = call.foreign_netns(view.own_netns()) {
        let inode = netns.inode;
        let which = netns
            .name
            .map_or_else(|| inode.to_string(), |name| format!("{name} ({inode})"));
        let which = format!("{which}, not the one that tcpstate runs in");
        text.field("namespace", &which, Tone::Text);
    }
    text.field("options", &options_text(Some(call.reuse)), Tone::Text);
    text.heading("would the same call have worked?");
    for (name, is_set, answer) in options(diagnosis.would_work, call.reuse) {
        let answer = match (is_set, answer) {
            (true, YesNo::No) => "no: it was set",
            (_, YesNo::Yes) => "yes",
            (_, YesNo::No) => "no",
            (_, YesNo::Unknown) => "cannot tell",
        };
        text.pair(20, name, answer, Tone::Text);
    }
    if !diagnosis.missing.is_empty() {
        text.heading("what could not be seen");
        for missing in &diagnosis.missing {
            text.indented(2, missing, Tone::Warn);
        }
    }
    text
}

fn fix_lines(text: &mut Page, fix: &Fix, what: &str) {
    let (word, tone) = match fix.applies {
        Applies::Now => ("helps now", Tone::Good),
        Applies::NextTime => ("next time", Tone::Warn),
        Applies::No => ("does not help", Tone::Dim),
    };
    text.pair(15, word, what, tone);
    if let Some(command) = &fix.command {
        if let Some(effect) = fix.effect.filter(|_| fix.language.is_none())
            && let Some(warning) = effect.warning()
        {
            let tone = match effect {
                Effect::Destroys => Tone::Warn,
                Effect::Changes | Effect::Reads => Tone::Dim,
            };
            text.indented(15, &format!("this {warning}:"), tone);
        }
        text.indented(15, command, Tone::Accent);
    }
    if let Some(why) = &fix.why {
        text.indented(15, why, Tone::Dim);
    }
}

fn options(would_work: WouldWork, reuse: Reuse) -> [(&'static str, bool, YesNo); 3] {
    [
        ("with SO_REUSEADDR", reuse.reuseaddr, would_work.reuseaddr),
        ("with SO_REUSEPORT", reuse.reuseport, would_work.reuseport),
        ("with IPV6_V6ONLY", reuse.v6only, would_work.v6only),
    ]
}
