//! How the ports that the kernel may choose are used up, for a call that found none.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Process, State};

/// The ports of `ip_local_port_range`, counted a moment after a call found none free: those
/// on its address for `bind`, those towards its peer, or bound, for `connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ephemeral {
    /// Ports of the range that are not reserved (`ip_local_reserved_ports`).
    pub available: u32,
    /// Of these, ports that the call could not have.
    pub used: u32,
    /// The sockets that have them, by state.
    pub states: BTreeMap<State, u32>,
    /// Peers that they are connected to, different ones.
    pub peers: u32,
    /// Whose they are, those with the most ports first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<EphemeralUser>,
    /// Listening ports below the range and above it that a wider one would take in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listening_beyond: Vec<u16>,
}

/// A process that has ports of the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EphemeralUser {
    /// Which.
    pub process: Arc<Process>,
    /// Sockets of it that are counted.
    pub sockets: u32,
}
