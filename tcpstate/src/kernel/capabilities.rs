//! What this kernel and these privileges allow, found out by trying: every
//! program is loaded (the verifier's word counts) and attached for a moment.
//! Nothing stays behind.

use super::{KernelError, Options, load, preflight};
use crate::event::{Capture, Probe};

/// What can be used, and what not and why.
#[derive(Debug)]
pub struct Capability {
    /// `uname -r`.
    pub release: String,
    /// Whether BPF programs may be loaded at all.
    pub is_permitted: bool,
    /// Hook by hook; empty if nothing could be tried.
    pub probes: Vec<Probe>,
    /// Whether functions of the kernel can be hooked.
    pub capture: Capture,
    /// Why nothing could be tried.
    pub why: Option<KernelError>,
}

/// Whether this process may bind ports below `ip_unprivileged_port_start`.
#[must_use]
pub fn has_net_bind_service() -> bool {
    preflight::has_net_bind_service()
}

/// Tries every hook.
#[must_use]
pub fn capabilities(capture: Option<Capture>) -> Capability {
    let options = Options {
        capture,
        ..Options::default()
    };
    let tried = preflight::check().and_then(|()| load::load(&options));
    let (probes, capture, why) = match tried {
        // The programs are unloaded here.
        Ok(loaded) => (loaded.probes, loaded.capture, None),
        Err(error) => (Vec::new(), Capture::Tracepoints, Some(error)),
    };
    Capability {
        release: preflight::release(),
        is_permitted: preflight::is_permitted(),
        probes,
        capture,
        why,
    }
}
