//! Phrases about calls, sockets and holders that several panels use.

use std::fmt::Write as _;

use crate::diagnosis::CallKind;
use crate::engine::Failure;
use crate::event::{Certainty, Fix, Holder, Requested, Reuse, State};
use crate::model::Socket;
use crate::tui::draw::screen::Span;
use crate::tui::state::clearance::Clearance;
use crate::tui::state::view::View;
use crate::tui::theme::Tone;
use crate::units::{self, NS_PER_MS};

/// What to do; a wait has the time that is left now, not when the call failed.
pub(crate) fn fix_text(fix: &Fix, failure: &Failure, view: &View<'_>) -> String {
    match Clearance::of(view, failure) {
        Clearance::Clears { left_ns } if *fix.id == *"wait" && left_ns > 0 => {
            format!("Wait {}, then start it again", units::left(left_ns))
        }
        Clearance::Gone => "Start it again: what held the port is gone".to_owned(),
        _ => fix.text.clone(),
    }
}

pub(crate) fn verb(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Bind => "bind",
        CallKind::Listen => "listen",
        CallKind::Connect => "connect",
    }
}

/// The address and port that the call asked for.
pub(crate) fn wanted(failure: &Failure) -> String {
    let requested = match (failure.kind, failure.call.local) {
        (CallKind::Listen, Some(local)) => Requested {
            addr: Some(local.addr),
            port: local.port,
        },
        _ => failure.call.requested,
    };
    match requested.addr {
        Some(addr) => std::net::SocketAddr::new(addr, requested.port).to_string(),
        None => format!(":{}", requested.port),
    }
}

/// When what stood in the way is gone.
pub(crate) fn free(view: &View<'_>, failure: &Failure) -> Option<Span> {
    Some(match Clearance::of(view, failure) {
        Clearance::Clears { left_ns: 0 } => ("free about now: try again".to_owned(), Tone::Good),
        Clearance::Clears { left_ns } => (format!("free in {}", units::left(left_ns)), Tone::Warn),
        Clearance::Gone => ("holder gone: try again".to_owned(), Tone::Good),
        Clearance::Stays => ("not free by itself".to_owned(), Tone::Warn),
        Clearance::Unknown => return None,
    })
}

/// `TIME_WAIT 127.0.0.1:8080 ↔ 127.0.0.1:53211, left by nginx[4711], 17 s`.
pub(crate) fn holder(holder: &Holder, failure: &Failure, now_ns: u64) -> String {
    let mut text = format!("{} {}", state_name(holder.state), holder.local);
    if holder.peer.port != 0 {
        let _ = write!(text, " ↔ {}", holder.peer);
    }
    text += &holder_origin(holder);
    if let Some(expires_ms) = holder.expires_ms {
        let at_ns = failure
            .mono_ns
            .saturating_add(expires_ms.saturating_mul(NS_PER_MS));
        let _ = write!(text, ", {} left", units::left(at_ns.saturating_sub(now_ns)));
    }
    text
}

/// `, left by nginx[4711]` or `, open in nginx[4711] and 2 more`; who has it open
/// comes before who opened it. Empty: not known.
pub(crate) fn holder_origin(holder: &Holder) -> String {
    if let Some(left_by) = &holder.left_by {
        return format!(", left by {left_by}");
    }
    let open_in = holder.processes.as_deref().unwrap_or_default();
    let opened_by = holder.process.as_ref();
    let further = usize::try_from(holder.processes_more).unwrap_or(0);
    let has_opener = opened_by.is_some_and(|by| open_in.iter().any(|other| other.pid == by.pid));
    match (opened_by, open_in) {
        (Some(process), [] | [_]) if further == 0 && (has_opener || open_in.is_empty()) => {
            format!(", {process}")
        }
        (Some(process), all) if has_opener => {
            format!(", {process} and {} more", all.len() - 1 + further)
        }
        (by, [first, others @ ..]) => {
            let mut text = format!(", open in {first}");
            if others.len() + further > 0 {
                let _ = write!(text, " and {} more", others.len() + further);
            }
            if let Some(by) = by {
                let _ = write!(text, ", opened by {by}");
            }
            text
        }
        (_, []) => String::new(),
    }
}

/// `TIME_WAIT`: as `ss` and the RFC write it.
pub(crate) fn state_name(state: State) -> String {
    state.name().to_uppercase()
}

pub(crate) fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Proven => "proven",
        Certainty::Likely => "likely",
        Certainty::Unknown => "not certain",
    }
}

/// Time in its state; `≥` where it was in it before we came.
pub(crate) fn age(socket: &Socket, now_ns: u64) -> String {
    let age = units::age(now_ns.saturating_sub(socket.since_ns));
    if socket.is_from_snapshot && socket.steps.len() <= 1 {
        format!("≥{age}")
    } else {
        age
    }
}

/// The options that decide who may share the port.
pub(crate) fn options(reuse: Option<Reuse>) -> String {
    let Some(reuse) = reuse else {
        return "not known".to_owned();
    };
    let word = |is_set, name| {
        if is_set {
            format!("{name} set")
        } else {
            format!("{name} not set")
        }
    };
    let mut text = format!(
        "{}, {}",
        word(reuse.reuseaddr, "SO_REUSEADDR"),
        word(reuse.reuseport, "SO_REUSEPORT")
    );
    if reuse.v6only {
        text += ", IPV6_V6ONLY set";
    }
    text
}
