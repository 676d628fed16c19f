//! Why the kernel cannot be observed.

use std::path::PathBuf;

use thiserror::Error;

/// Why the kernel cannot be observed; each message ends in what helps.
#[derive(Debug, Error)]
pub enum KernelError {
    /// Loading BPF programs needs privileges.
    #[error(
        "observing the kernel needs CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN), and this process \
         has neither; run it as root: sudo {command}"
    )]
    NotPermitted {
        /// The command line as it was given.
        command: String,
    },
    /// Root of a user namespace is not root of the machine.
    #[error(
        "observing the kernel needs root of the machine itself, and this process is in a user \
         namespace (a rootless container, `unshare -r`), whose root may not load BPF programs; \
         run it outside: sudo {command}"
    )]
    InUserNamespace {
        /// The command line as it was given.
        command: String,
    },
    /// Type information of the running kernel is not there.
    #[error(
        "the kernel does not describe its own types in {}; a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y is needed (Debian, Ubuntu, Fedora and RHEL 8 or later have it)",
        path.display()
    )]
    NoTypeInformation {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// Older than what we know.
    #[error(
        "Linux {release} is too old: ring buffers and BTF tracepoints need Linux 5.10 or later"
    )]
    TooOld {
        /// As `uname -r` says.
        release: String,
    },
    /// Type information that cannot be read.
    #[error("reading the kernel's type information in {}: {source}", path.display())]
    TypeInformation {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: super::btf::BtfError,
    },
    /// A field that the required hook cannot do without.
    #[error(
        "this kernel's {what} is not where tcpstate looks for it; please report the kernel version"
    )]
    Layout {
        /// Struct and field.
        what: &'static str,
    },
    /// What the program carries of the object is not what was built in.
    #[error("unpacking the kernel program: {0}; the program's file is damaged: install it again")]
    Unpack(#[source] std::io::Error),
    /// The object was refused as a whole.
    #[error("loading the kernel program: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// The one hook that everything rests on was refused.
    #[error("attaching to {name} ({kind}): {why}")]
    Required {
        /// Name of the hook.
        name: &'static str,
        /// Its kind.
        kind: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// Function hooks were asked for, and the kernel allows none.
    #[error(
        "this kernel does not allow function hooks ({why}); leave --capture away, and \
         tracepoints are used"
    )]
    NoFunctionHooks {
        /// What the kernel said.
        why: String,
    },
    /// A map of the object could not be opened.
    #[error("opening the map {name} of the kernel program: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// Why not.
        source: Box<aya::maps::MapError>,
    },
    /// Waiting for events failed.
    #[error("waiting for the kernel's events: {0}")]
    Wait(#[source] std::io::Error),
    /// More processes than the kernel program can hold.
    #[error("at most {max} processes can be watched at one time, {asked} were asked for")]
    TooManyProcesses {
        /// The limit.
        max: usize,
        /// How many were asked for.
        asked: usize,
    },
}
