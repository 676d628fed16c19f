//! The live policy: what is asked beside the hooks, when, and what follows from the answers.
//!
//! Each part takes the engine's view and a [`source`], and gives the facts that the engine
//! lacks; a part that asks again later says when. Whoever runs them, `commands::live`, takes
//! in what the hooks have reported before each step, and feeds what the step gives.
//!
//! | part | finds |
//! | --- | --- |
//! | [`list`] | all sockets, at the start and after a loss |
//! | [`resync`] | after a loss, what the table has and the list lacks |
//! | [`reconcile`] | again and again, what no hook announces |
//! | [`poll`] | whether a mini-socket whose time is over is gone |
//! | [`namespaces`] | the sockets that went with their namespace |
//! | [`losses`] | whether events were lost, and when the table is put right |
//! | [`counted`] | failed calls that the kernel program counted |
//! | [`completion`] | what a failed call leaves open: settings, holders, the caller |
//! | [`owners`] | who has a socket open |
//! | [`orphaned_listeners`] | who has a listener whose process has ended |

mod caller;
pub(crate) mod changes;
pub(crate) mod completion;
pub(crate) mod counted;
mod exhaustion;
pub(crate) mod kernel;
pub(crate) mod list;
mod lookup;
pub(crate) mod losses;
pub(crate) mod namespaces;
pub(crate) mod orphaned_listeners;
pub(crate) mod owners;
pub(crate) mod poll;
pub(crate) mod reconcile;
pub(crate) mod resync;
pub(crate) mod scope;
#[cfg(test)]
mod scripted;
pub(crate) mod source;
