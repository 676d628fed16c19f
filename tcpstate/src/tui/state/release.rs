//! A port that is freed from the dashboard: what was said of it, and how far it is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::event::Reuse;

/// Of what was said so much is shown.
const MAX_TEXT: usize = 64 << 10;

/// The socket that could not have a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// The port.
    pub port: u16,
    /// The address; `None`: not known, so any.
    pub addr: Option<IpAddr>,
    /// Whether it is an IPv6 socket.
    pub is_ipv6: bool,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Its options.
    pub reuse: Reuse,
    /// Its user.
    pub uid: Option<u32>,
}

/// Whether and which port is freed from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freeing {
    /// It is not to be had here; why.
    Off(&'static str),
    /// Nobody has asked for it.
    Idle,
    /// A port was asked for.
    Asked(PortRelease),
}

/// What frees a port, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortRelease {
    pub(crate) port: u16,
    pub(crate) text: String,
    pub(crate) stage: Stage,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is looked at, or done.
    Working,
    /// The plan is there, and `yes` is waited for.
    Asking,
    /// That was all.
    Ended,
}

impl Freeing {
    pub(crate) fn begin(&mut self, port: u16) {
        *self = Self::Asked(PortRelease {
            port,
            text: String::new(),
            stage: Stage::Working,
        });
    }

    /// How far what was asked for is.
    pub(crate) fn stage(&self) -> Option<Stage> {
        match self {
            Self::Asked(release) => Some(release.stage),
            Self::Off(_) | Self::Idle => None,
        }
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        if let Self::Asked(release) = self {
            release.stage = stage;
        }
    }

    /// Adds to what was said.
    pub(crate) fn add(&mut self, text: &str) {
        if let Self::Asked(release) = self
            && release.text.len() + text.len() <= MAX_TEXT
        {
            release.text += text;
        }
    }

    /// The last thing that was said.
    pub(crate) fn last_line(&self) -> Option<&str> {
        match self {
            Self::Asked(release) => release.text.lines().rfind(|line| !line.trim().is_empty()),
            Self::Off(_) | Self::Idle => None,
        }
    }
}
