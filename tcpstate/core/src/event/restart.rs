//! `restart`: derived.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::socket::Process;

/// A port that was listened on, then was not, is listened on again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// The port.
    pub port: u16,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The event with which the last listener went.
    pub listen_closed_seq: u64,
    /// The event with which the new listener came.
    pub listen_again_seq: u64,
    /// Milliseconds between the two.
    pub downtime_ms: u64,
    /// Failed `bind` and `listen` calls for the port in between.
    pub failed_binds: u64,
    /// Who listened before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_process: Option<Arc<Process>>,
    /// Who listens now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_process: Option<Arc<Process>>,
}
