//! What tells a process from others of its name.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `/proc` shows of a process that has a socket open, at the moment it was looked up; of
/// one whose call failed the folder and the ancestors alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// For how many seconds it had been running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// The name of its user in `/etc/passwd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Its controlling terminal: `pts/3`, `tty1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Arc<str>>,
    /// Its working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Arc<str>>,
    /// Its parent, that one's parent and so on, without process 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
    /// What started it, and was in its job or session, has ended, and somebody else is its
    /// parent now. A program that went into the background by itself (`daemon(3)`) is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_orphan: bool,
}

/// A process above another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// The name that it gave itself.
    pub comm: Arc<str>,
    /// What it is by its command line, where it runs as the user of the process below it or
    /// as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Supervisor>,
}

/// A program that starts others and starts them again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Supervisor {
    /// The daemon of pm2.
    Pm2,
    /// `supervisord`.
    Supervisord,
    /// `runsv` of runit.
    Runit,
    /// `s6-supervise`.
    S6,
    /// The master of gunicorn.
    Gunicorn,
    /// The parent of uvicorn's workers, or its reloader.
    Uvicorn,
    /// The reloader of Flask.
    Flask,
    /// `nodemon`.
    Nodemon,
    /// `conmon`, with which podman keeps a container.
    Podman,
}

/// Who a holder of the port is to the process that asked for it; the first that applies.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RelationName {
    /// The process that asked.
    Itself,
    /// It started the process that asked.
    Parent,
    /// The parent of that one, or another one above it.
    Ancestor,
    /// The process that asked started it.
    Child,
    /// It descends from the process that asked, by others in between.
    Descendant,
    /// The server of which the process that asked only tests the configuration.
    ConfigTested,
    /// Another start of the same command.
    SameCommand,
    /// Has an option with the port that the process that asked has, too: a stop command that
    /// was given the server's options.
    SameOption,
    /// The same program with other arguments.
    SameProgram,
    /// It has the same parent.
    Sibling,
}
