//! What came of failed calls: a restart, another port, too many to be reported.

use std::fmt::Write as _;

use super::words::{by, name, seconds};
use super::{Context, Describe, Row, Tone, View};
use crate::event::{CallName, Fallback, Flood, Restart};
use crate::model::NS_PER_MS;
use crate::printable::printable;
use crate::units;

impl Describe for Restart {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let mut text = format!(
            "RESTART      :{} down for {}",
            self.port,
            seconds(self.downtime_ms)
        );
        let _ = write!(
            text,
            ", {} failed bind{}",
            self.failed_binds,
            if self.failed_binds == 1 { "" } else { "s" }
        );
        if let (Some(old), Some(new)) = (&self.old_process, &self.new_process) {
            let _ = write!(text, "; {} -> {}", name(old), name(new));
        }
        Some(text)
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        let failed = match self.failed_binds {
            0 => String::new(),
            count => format!(", bind failed {count}×"),
        };
        let text = format!(
            ":{} back after {}{failed}{}{}",
            self.port,
            units::exact(self.downtime_ms.saturating_mul(NS_PER_MS)),
            by(", ", self.old_process.as_deref()),
            by(" → ", self.new_process.as_deref())
        );
        Row::loud("restart", Tone::Good, text)
    }
}

impl Describe for Fallback {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        Some(format!(
            "FALLBACK     {} failed, {} took :{} instead",
            self.failed_ports(),
            name(&self.process),
            self.took
        ))
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        let text = format!(
            "{} failed, {} took :{} instead",
            self.failed_ports(),
            self.process,
            self.took
        );
        Row::loud("fallback", Tone::Warn, text)
    }
}

impl Describe for Flood {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        Some(format!(
            "FLOOD        {} more failed {}s of uid {} were counted, not explained; the last by {}[{}]",
            self.count,
            self.call.name(),
            self.uid,
            printable(&self.comm),
            self.pid
        ))
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        let text = format!(
            "{} more {} of uid {} counted, the last by {}[{}]",
            self.count,
            match self.call {
                CallName::Bind => "failed binds",
                CallName::Listen => "failed listens",
                CallName::Connect => "failed connects",
            },
            self.uid,
            self.comm,
            self.pid
        );
        Row::loud("FLOOD", Tone::Bad, text)
    }
}
