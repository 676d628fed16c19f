//! How the kernel is observed.

use clap::ValueEnum;

use crate::event::Capture;

/// How the kernel is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CaptureMode {
    /// Function hooks where the kernel allows them, else tracepoints.
    Auto,
    /// Function hooks, or not at all.
    Functions,
    /// Tracepoints only.
    Tracepoints,
}

impl CaptureMode {
    /// The mode that is asked for; `None`: what the kernel allows.
    #[must_use]
    pub fn asked(self) -> Option<Capture> {
        match self {
            Self::Auto => None,
            Self::Functions => Some(Capture::Functions),
            Self::Tracepoints => Some(Capture::Tracepoints),
        }
    }
}
