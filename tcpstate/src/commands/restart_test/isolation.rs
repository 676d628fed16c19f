//! Where it is tested: in a network namespace of each restart's own, so that none finds what
//! another one left, or on the host.
//!
//! Without root the namespaces belong to a user namespace, in which everybody keeps the user
//! that they are. Its making gives this process all rights there, which no server has: the
//! thread that tests gives them up first.

use std::fs;
use std::io;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities};

use crate::demo::namespace;

/// Settings that decide who may bind what and for how long a port is held.
const COPIED: [&str; 6] = [
    "ipv4/ip_local_port_range",
    "ipv4/tcp_fin_timeout",
    "ipv4/tcp_tw_reuse",
    "ipv4/ip_nonlocal_bind",
    "ipv4/ip_unprivileged_port_start",
    "ipv6/bindv6only",
];

/// Where restarts are tested.
#[derive(Debug)]
pub(super) enum Isolation {
    Host,
    Private {
        /// The host's settings.
        settings: Vec<(&'static str, String)>,
        /// A user namespace has been made: rights in it are to be given up.
        has_gained_rights: bool,
    },
}

impl Isolation {
    /// On the host.
    pub(super) fn host() -> Self {
        Self::Host
    }

    /// In namespaces. To be called before there is a second thread.
    pub(super) fn private() -> Result<Self> {
        let settings = COPIED
            .into_iter()
            .filter_map(|name| Some((name, read(name)?)))
            .collect();
        let has_gained_rights = enter_private_user()
            .context("no private network namespace can be made here; --host tests on the host")?;
        Ok(Self::Private {
            settings,
            has_gained_rights,
        })
    }

    pub(super) fn is_private(&self) -> bool {
        matches!(self, Self::Private { .. })
    }

    /// Moves the calling thread into a new namespace, with the host's settings. Gives what
    /// could not be set.
    pub(super) fn enter_next(&self) -> Result<Vec<String>> {
        let Self::Private { settings, .. } = self else {
            return Ok(Vec::new());
        };
        unshare(UnshareFlags::NEWNET)
            .context("no private network namespace can be made here; --host tests on the host")?;
        namespace::set_up().map_err(|error| anyhow!(error))?;
        let mut notes = Vec::new();
        for (name, value) in settings {
            if read(name).as_ref() != Some(value)
                && let Err(error) = fs::write(path(name), value)
            {
                let name = name.replace('/', ".");
                notes.push(format!(
                    "net.{name} is not the host's `{value}` in the namespace: {error}"
                ));
            }
        }
        Ok(notes)
    }

    /// What every thread has gained by the making of namespaces.
    pub(super) fn gained_rights(&self) -> GainedRights {
        let has_gained_rights = matches!(
            self,
            Self::Private {
                has_gained_rights: true,
                ..
            }
        );
        GainedRights(has_gained_rights)
    }
}

/// Rights that are to be given up by each thread that does not make namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct GainedRights(bool);

impl GainedRights {
    /// Gives up those of the calling thread.
    pub(super) fn give_up(self) -> Result<()> {
        if self.0 {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            };
            set_capabilities(None, sets).context("cannot give up rights")?;
        }
        Ok(())
    }
}

/// Makes sure that this thread may make network namespaces. `true`: in a user namespace that
/// gives it rights which programs of its user do not have.
fn enter_private_user() -> io::Result<bool> {
    let (uid, gid) = (geteuid(), getegid());
    // A try, which the first round does again.
    if uid.is_root() && unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(false);
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    // Who may not set groups need not be kept from it, and an older kernel has no such file.
    let _ = fs::write("/proc/thread-self/setgroups", "deny");
    fs::write("/proc/thread-self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/thread-self/gid_map", format!("{gid} {gid} 1"))?;
    Ok(uid != 0)
}

#[expect(
    unsafe_code,
    reason = "unshare(2) changes the thread's view of the world"
)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: namespaces change; the descriptors, which is what could be pulled away from
    // under other code, stay shared.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/{name}")
}

fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim().to_owned())
}
