//! What the program may still do once it has what it needs: a bug in what it does with
//! the bytes of strangers is worth that much, and no more.
//!
//! Every thread inherits it, so it happens before there are others.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// A capability that somebody who watches keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptCapability {
    /// As in capabilities(7).
    pub name: &'static str,
    /// What it is used for.
    pub reason: &'static str,
    capability: CapabilitySet,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Files are written into a folder of another user, or are those of who called sudo.
    Folder,
    /// Files are handed to who called sudo.
    Sudo,
    Dashboard,
}

/// All that a run may keep, as far as it has it.
pub const KEPT_CAPABILITIES: [KeptCapability; 9] = [
    kept(
        "CAP_SYS_ADMIN",
        "entering network namespaces (setns), opening them by their handles",
        CapabilitySet::SYS_ADMIN,
        When::Always,
    ),
    kept(
        "CAP_BPF",
        "the kernel program's maps and its list of sockets, again and again",
        CapabilitySet::BPF,
        When::Always,
    ),
    kept(
        "CAP_PERFMON",
        "the list of sockets reads kernel memory",
        CapabilitySet::PERFMON,
        When::Always,
    ),
    kept(
        "CAP_SYS_PTRACE",
        "descriptors, programs and namespaces of other users' processes in /proc",
        CapabilitySet::SYS_PTRACE,
        When::Always,
    ),
    kept(
        "CAP_DAC_READ_SEARCH",
        "the same folders of /proc, and control groups by their ids",
        CapabilitySet::DAC_READ_SEARCH,
        When::Always,
    ),
    kept(
        "CAP_DAC_OVERRIDE",
        "recordings and saved screens in a folder of another user, or under sudo",
        CapabilitySet::DAC_OVERRIDE,
        When::Folder,
    ),
    kept(
        "CAP_FOWNER",
        "a file there that is yours already is made private",
        CapabilitySet::FOWNER,
        When::Folder,
    ),
    kept(
        "CAP_CHOWN",
        "what is written under sudo is given to who called it",
        CapabilitySet::CHOWN,
        When::Sudo,
    ),
    kept(
        "CAP_KILL",
        "ctrl-z stops the whole job, whose other processes may be another user's",
        CapabilitySet::KILL,
        When::Dashboard,
    ),
];

const fn kept(
    name: &'static str,
    reason: &'static str,
    capability: CapabilitySet,
    when: When,
) -> KeptCapability {
    KeptCapability {
        name,
        reason,
        capability,
        when,
    }
}

/// What a run does besides watching.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Folders that it writes into later.
    pub folders: Vec<PathBuf>,
    /// Somebody called sudo, and gets the files.
    pub is_under_sudo: bool,
    /// It has the terminal.
    pub has_dashboard: bool,
}

impl Run {
    /// What such a run keeps of the capabilities that there are.
    #[must_use]
    pub fn keeps(&self) -> Vec<KeptCapability> {
        let own = rustix::process::geteuid().as_raw();
        let is_anothers = |folder: &PathBuf| fs::metadata(folder).is_ok_and(|it| it.uid() != own);
        let is_for_caller = self.is_under_sudo && !self.folders.is_empty();
        let is_in_folder = self.folders.iter().any(is_anothers);
        KEPT_CAPABILITIES
            .into_iter()
            .filter(|kept| match kept.when {
                When::Always => true,
                When::Folder => is_in_folder || is_for_caller,
                When::Sudo => is_for_caller,
                When::Dashboard => self.has_dashboard,
            })
            .collect()
    }

    /// Gives up everything else, for this thread and those that it starts.
    pub fn confine(&self) -> io::Result<()> {
        gain_nothing()?;
        let keep = self
            .keeps()
            .into_iter()
            .fold(CapabilitySet::empty(), |all, one| all | one.capability);
        keep_only(keep)
    }
}

/// No program that is started from here on gains anything, set-user-id or not.
pub fn gain_nothing() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Gives up all other capabilities, from every set.
fn keep_only(keep: CapabilitySet) -> io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter() {
            if !keep.contains(capability) {
                // One that this kernel does not have need not go.
                let _ = rustix::thread::remove_capability_from_bounding_set(capability);
            }
        }
    }
    // No kernel that we run on is without ambient capabilities.
    rustix::thread::clear_ambient_capability_set()?;
    let kept = now.permitted & keep;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: now.effective & kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

/// Whether Landlock is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// The process is confined.
    On,
    /// This kernel does not have it, or not all of it.
    Missing,
}

/// From here on the process reads files and writes none but below these folders and to
/// the terminal, opens no TCP connection and gains nothing: for who reads what
/// strangers recorded. Files that are open already stay as they are.
pub fn read_only(writable: &[PathBuf]) -> io::Result<Landlock> {
    gain_nothing()?;
    let mut keep = CapabilitySet::empty();
    if rustix::process::geteuid().is_root() {
        // A user has none, or would not want it for this; root reads what he likes.
        keep |= CapabilitySet::DAC_READ_SEARCH;
        if !writable.is_empty() {
            // Files in a folder of another user, given to who called sudo; ctrl-z.
            keep |= CapabilitySet::DAC_OVERRIDE | CapabilitySet::CHOWN | CapabilitySet::KILL;
            keep |= CapabilitySet::FOWNER;
        }
    }
    keep_only(keep)?;
    restrict(writable).map_err(io::Error::other)
}

fn restrict(writable: &[PathBuf]) -> Result<Landlock, RulesetError> {
    const KNOWN: ABI = ABI::V4;
    let write = AccessFs::from_write(KNOWN);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?;
    let files: BitFlags<AccessFs> =
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    for folder in writable {
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, files))?;
        }
    }
    for terminal in ["/dev/tty", "/dev/pts", "/dev/null"].map(Path::new) {
        if let Ok(terminal) = PathFd::new(terminal) {
            rules = rules.add_rule(PathBeneath::new(terminal, AccessFs::WriteFile))?;
        }
    }
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::On,
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => Landlock::Missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_what_it_uses() {
        let names = |run: &Run| -> Vec<&str> { run.keeps().iter().map(|kept| kept.name).collect() };
        let plain = names(&Run::default());

        assert_eq!(plain.len(), 5, "{plain:?}");
        let dashboard = Run {
            has_dashboard: true,
            ..Run::default()
        };
        assert!(names(&dashboard).contains(&"CAP_KILL"));
        let sudo = Run {
            folders: vec![PathBuf::from("/")],
            is_under_sudo: true,
            ..Run::default()
        };
        for name in ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"] {
            assert!(names(&sudo).contains(&name), "{name}");
        }
    }

    #[test]
    fn a_thread_gives_up_what_it_does_not_keep_and_cannot_write() {
        std::thread::spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            let other = tempfile::tempdir().unwrap();
            Run::default().confine().unwrap();
            let left = rustix::thread::capabilities(None).unwrap().permitted;
            let most = KEPT_CAPABILITIES[..5]
                .iter()
                .fold(CapabilitySet::empty(), |all, one| all | one.capability);
            assert!(most.contains(left), "{left:?}");
            assert!(rustix::thread::no_new_privs().unwrap());

            let confined = read_only(&[folder.path().to_owned()]).unwrap();
            if confined == Landlock::On {
                assert!(fs::write(folder.path().join("x"), "x").is_ok());
                assert!(fs::write(other.path().join("x"), "x").is_err());
                assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
            }
            assert!(fs::read("/proc/self/stat").is_ok());
        })
        .join()
        .unwrap();
    }
}
