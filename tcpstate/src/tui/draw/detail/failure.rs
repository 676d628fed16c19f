//! A diagnosis in full: holders, evidence, fixes, how certain, what is missing.

use crate::event::{Applies, Effect, Fix, Reuse, WouldWork, YesNo};
use crate::tui::draw::detail::holders;
use crate::tui::draw::detail::parts::{gone, process};
use crate::tui::draw::page::Page;
use crate::tui::draw::phrases::options as options_text;
use crate::tui::draw::phrases::{certainty, fix_text, free, verb, wanted};
use crate::tui::state::advice;
use crate::tui::state::view::View;
use crate::tui::theme::Role;
use crate::tui::units;

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
    text.paragraph(&diagnosis.summary, Role::Strong);
    text.blank();
    if let Some((free, role)) = free(view, failure) {
        text.field("port", &free, role);
    }
    text.field(
        "cause",
        &format!(
            "{}, {}",
            diagnosis.cause.name(),
            certainty(diagnosis.certainty)
        ),
        Role::Bad,
    );
    if let Some(made_in) = advice::made_in(view, failure) {
        text.field("where", &made_in, Role::Warn);
    }
    if !diagnosis.fixes.is_empty() {
        if is_replay {
            let then = advice::then(view, failure);
            text.heading(&format!("what to do, as of {then}"));
            text.paragraph("Look again before you run a command of then.", Role::Warn);
        } else {
            text.heading("what to do");
        }
        for fix in &diagnosis.fixes {
            tell_fix(
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
        Role::Text,
    );
    process(&mut text, "caller", &call.process);
    if let Some(netns) = call.foreign_netns(view.own_netns()) {
        let inode = netns.inode;
        let which = netns
            .name
            .map_or_else(|| inode.to_string(), |name| format!("{name} ({inode})"));
        let which = format!("{which}, not the one that tcpstate runs in");
        text.field("namespace", &which, Role::Text);
    }
    text.field("options", &options_text(Some(call.reuse)), Role::Text);
    text.heading("would the same call have worked?");
    for (name, is_set, answer) in options(diagnosis.would_work, call.reuse) {
        let answer = match (is_set, answer) {
            (true, YesNo::No) => "no: it was set",
            (_, YesNo::Yes) => "yes",
            (_, YesNo::No) => "no",
            (_, YesNo::Unknown) => "cannot tell",
        };
        text.pair(20, name, answer, Role::Text);
    }
    if !diagnosis.missing.is_empty() {
        text.heading("what could not be seen");
        for missing in &diagnosis.missing {
            text.indented(2, missing, Role::Warn);
        }
    }
    text
}

fn tell_fix(text: &mut Page, fix: &Fix, what: &str) {
    let (word, role) = match fix.applies {
        Applies::Now => ("helps now", Role::Good),
        Applies::NextTime => ("next time", Role::Warn),
        Applies::No => ("does not help", Role::Dim),
    };
    text.pair(15, word, what, role);
    if let Some(command) = &fix.command {
        if let Some(effect) = fix.effect.filter(|_| fix.language.is_none())
            && let Some(warning) = effect.warning()
        {
            let role = match effect {
                Effect::Destroys => Role::Warn,
                Effect::Changes | Effect::Reads => Role::Dim,
            };
            text.indented(15, &format!("this {warning}:"), role);
        }
        text.indented(15, command, Role::Accent);
    }
    if let Some(why) = &fix.why {
        text.indented(15, why, Role::Dim);
    }
}

fn options(would_work: WouldWork, reuse: Reuse) -> [(&'static str, bool, YesNo); 3] {
    [
        ("with SO_REUSEADDR", reuse.reuseaddr, would_work.reuseaddr),
        ("with SO_REUSEPORT", reuse.reuseport, would_work.reuseport),
        ("with IPV6_V6ONLY", reuse.v6only, would_work.v6only),
    ]
}
