//! A stage of one's own: a private network namespace, real processes in it,
//! and stories of servers that do not restart.

pub mod actor;
pub mod namespace;
pub mod scenario;
pub mod stage;

pub use scenario::{Expectation, SCENARIOS, Scenario};
pub use stage::{Stage, StageError};
