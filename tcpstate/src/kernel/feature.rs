//! What the hooks can do only where the kernel has more than they need: listed beside
//! them, since a reader of a recording wants to know.

use tcpstate_common::config::flags;

use super::requirements;
use super::settings::Settings;

/// A part of what is captured that no hook stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    BindBucket,
    CallersProgram,
    SocketCookies,
    StrayResets,
}

impl Feature {
    pub(super) const ALL: [Self; 4] = [
        Self::BindBucket,
        Self::CallersProgram,
        Self::SocketCookies,
        Self::StrayResets,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BindBucket => "bind bucket",
            Self::CallersProgram => "caller's program",
            Self::SocketCookies => "socket cookies",
            Self::StrayResets => "resets without a socket",
        }
    }

    /// By what means.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::BindBucket => "walk",
            Self::CallersProgram => "read",
            Self::SocketCookies => "helper",
            Self::StrayResets => "tp_btf",
        }
    }

    /// What is given up without it.
    fn lack(self) -> &'static str {
        match self {
            Self::BindBucket => "failed binds are neither shown nor explained",
            Self::CallersProgram => {
                "whether a process has become another program since its call failed is not noticed"
            }
            Self::SocketCookies => {
                "sockets are told apart by their addresses: whose an outgoing connection is that \
                 had its port chosen is known only once its peer has answered"
            }
            Self::StrayResets => {
                "an RST for a port that nobody listens on, or from a TIME_WAIT, is not shown"
            }
        }
    }

    /// Why this kernel does not allow it; `None`: it does.
    pub(super) fn why_missing(self, settings: &Settings) -> Option<String> {
        let no = |what| format!("this kernel has no {what}");
        match self {
            Self::BindBucket => requirements::missing_for_walk(&settings.offsets).map(no),
            Self::CallersProgram => requirements::missing_for_program(&settings.offsets).map(no),
            Self::SocketCookies => {
                (settings.config.flags & flags::HAS_COOKIE_HELPER == 0).then(|| {
                    "this kernel gives a hook no cookie of a socket: it is older than Linux 5.12"
                        .to_owned()
                })
            }
            Self::StrayResets => requirements::missing_for_stray_resets(&settings.offsets),
        }
    }
}

/// What is given up without the feature of this name.
pub(super) fn lack(name: &str) -> Option<&'static str> {
    Feature::ALL
        .into_iter()
        .find(|feature| feature.name() == name)
        .map(Feature::lack)
}
