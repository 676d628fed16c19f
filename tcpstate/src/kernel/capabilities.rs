//! What this kernel and these privileges allow, found out by trying: every
//! program is loaded (the verifier's word counts) and attached for a moment.
//! Nothing stays behind.

use super::{KernelError, Options, load, preflight};
use crate::event::Probe;

/// What can be used, and what not and why.
#[derive(Debug)]
pub struct Capability {
    /// `uname -r`.
    pub release: String,
    /// Whether BPF programs may be loaded at all.
    pub is_permitted: bool,
    /// Hook by hook; empty if nothing could be tried.
    pub probes: Vec<Probe>,
    /// Whether functions of the kernel can be hooked (fentry). Nothing needs
    /// it today.
    pub functions: Option<Probe>,
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
pub fn capabilities() -> Capability {
    let tried = preflight::check().and_then(|()| load::load(&Options::default()));
    let (probes, functions, why) = match tried {
        Ok(mut loaded) => {
            let functions = load::try_function_hook(&mut loaded.ebpf);
            // The programs are unloaded here.
            (loaded.probes, Some(functions), None)
        }
        Err(error) => (Vec::new(), None, Some(error)),
    };
    Capability {
        release: preflight::release(),
        is_permitted: preflight::is_permitted(),
        probes,
        functions,
        why,
    }
}
