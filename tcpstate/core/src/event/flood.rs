//! `flood`: failed calls that were too many to be reported one by one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallName {
    /// `bind`.
    Bind,
    /// `listen`.
    Listen,
    /// `connect`.
    Connect,
}

impl CallName {
    /// The name as in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::Connect => "connect",
        }
    }
}

/// So many calls of one user have failed since the last such event that were different
/// from each other and too many to be reported: they were counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flood {
    /// Which call.
    pub call: CallName,
    /// Effective user id in the initial user namespace.
    pub uid: u32,
    /// The latest process of them, in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How many calls. They are in no event and no `repeated`.
    pub count: u64,
}
