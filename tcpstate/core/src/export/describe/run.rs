//! The run itself: its begin and end, what was lost, time.

use std::fmt::Write as _;

use super::{Context, Describe, Row, Tone, View};
use crate::event::{Capture, Footer, Header, Loss, LossStage, ProbeStatus, Tick};
use crate::printable::printable;
use crate::units;

impl Describe for Header {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let off: Vec<&str> = self
            .probes
            .iter()
            .filter(|probe| probe.status == ProbeStatus::Unavailable)
            .map(|probe| probe.name.as_str())
            .collect();
        let mut text = format!(
            "watching on {} (Linux {}, {} mode)",
            printable(&self.host),
            printable(&self.kernel),
            match self.capture {
                Capture::Functions => "function",
                Capture::Tracepoints => "tracepoint",
            }
        );
        if !off.is_empty() {
            let _ = write!(text, "; not available: {}", printable(&off.join(", ")));
        }
        Some(text)
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        Row::quiet("begin", Tone::Dim, format!("tcpstate {}", self.tcpstate))
    }
}

impl Describe for Loss {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        Some(if self.resynced {
            "RESYNCED     the table was put right from a snapshot".to_owned()
        } else {
            format!(
                "LOST         {} events; what happened meanwhile is not known",
                self.count
            )
        })
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        // After a loss, the table was read from the kernel again.
        if self.count == 0 && self.resynced {
            let text = "the table was read anew after the loss".to_owned();
            return Row::loud("resync", Tone::Good, text);
        }
        let text = format!(
            "{} {}{}",
            units::counted(self.count, "event", "events"),
            match self.stage {
                LossStage::Kernel => "in the kernel",
                LossStage::User => "on the way to us",
                LossStage::Snapshot => "in a snapshot",
            },
            if self.resynced {
                ", table read anew"
            } else {
                ", table incomplete"
            }
        );
        Row::loud("LOST", Tone::Bad, text)
    }
}

impl Describe for Tick {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        None
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        Row::quiet("time", Tone::Dim, String::new())
    }
}

impl Describe for Footer {
    fn text(&self, _: &'static str, _: &Context<'_>) -> Option<String> {
        let lost: u64 = self.losses.values().sum();
        let seen: u64 = self.counts.values().sum();
        Some(format!(
            "end          {seen} events, {lost} lost ({})",
            printable(&self.ended)
        ))
    }

    fn row(&self, _: &'static str, _: &View) -> Row {
        Row::quiet("end", Tone::Warn, self.ended.clone())
    }
}
