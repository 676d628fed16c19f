//! `fallback`: derived.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::Process;

/// A port that a process could not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedTry {
    /// The port.
    pub port: u16,
    /// The first failed `bind` or `listen` for it.
    pub seq: u64,
}

/// A process that could not have a port took another one instead.
///
/// Concluded a second after it took the other one, and only if it has not tried
/// for the first one again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fallback {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The ports that it could not have, in the order of its tries.
    pub failed: Vec<FailedTry>,
    /// The port that it took.
    pub took: u16,
    /// The `bind` that took it.
    pub took_seq: u64,
    /// Who.
    pub process: Arc<Process>,
}

impl Fallback {
    /// `:8080 and :8081`, the ports that failed.
    #[must_use]
    pub fn failed_ports(&self) -> String {
        let mut ports: Vec<String> = self
            .failed
            .iter()
            .map(|tried| format!(":{}", tried.port))
            .collect();
        let last = ports.pop().unwrap_or_default();
        if ports.is_empty() {
            return last;
        }
        format!("{} and {last}", ports.join(", "))
    }
}
