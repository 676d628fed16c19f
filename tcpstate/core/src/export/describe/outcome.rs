//! What came of failed calls: a restart, another port, too many to be reported.

use std::fmt::Write as _;

use super::words::{by, name, seconds};
use super::{Context, Describe, EventRow, Meaning, View};
use crate::event::{CallName, Fallback, Flood, LateHolders, Restart};
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

    fn row(&self, _: &'static str, _: &View) -> EventRow {
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
        EventRow::emphasized("restart", Meaning::Good, text)
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

    fn row(&self, _: &'static str, _: &View) -> EventRow {
        let text = format!(
            "{} failed, {} took :{} instead",
            self.failed_ports(),
            self.process,
            self.took
        );
        EventRow::emphasized("fallback", Meaning::Warn, text)
    }
}

/// The diagnosis that follows names them.
impl Describe for LateHolders {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let port = self.seen.holders.first()?.local.port;
        Some(format!("HOLDERS      who has :{port} open was found"))
    }

    fn row(&self, _: &'static str, _: &View) -> EventRow {
        let processes = self
            .seen
            .holders
            .iter()
            .flat_map(|holder| &holder.processes);
        let count = processes.flatten().count();
        let text = match count {
            0 => "who has the port was looked for: nobody was found".to_owned(),
            1 => "who has the port was found: 1 process".to_owned(),
            _ => format!("who has the port was found: {count} processes"),
        };
        EventRow::plain("holders", Meaning::Dim, text)
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

    fn row(&self, _: &'static str, _: &View) -> EventRow {
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
        EventRow::emphasized("FLOOD", Meaning::Bad, text)
    }
}
