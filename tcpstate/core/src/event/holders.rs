//! `holders`: who has the sockets that stood in a failed call's way, found after the call
//! had to be explained without.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Seen;

/// The processes that have the holders of a failed call open, where they were found too
/// late for its diagnosis. A `diagnosis` with the same `of` follows and takes the place of
/// the earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LateHolders {
    /// Position of the failed call.
    pub of: u64,
    /// What the call's `seen` would have been, had there been time.
    pub seen: Seen,
}
