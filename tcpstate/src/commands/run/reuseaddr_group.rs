//! `--reuseaddr` without supervision: a program of the kernel's sets the option at each bind
//! of the control group that the program is in. Takes root.

use std::fs::File;

use anyhow::{Context as _, Result};

use crate::cli::RunArgs;
use crate::commands::complain;
use crate::kernel::Reuseaddr;
use crate::supervise::child::StartError;
use crate::supervise::group::Group;

/// The group, and what sets the option in it.
#[derive(Debug)]
pub(super) struct ReuseaddrGroup {
    entrance: File,
    // Taken off before the group goes.
    _reuseaddr: Reuseaddr,
    _group: Group,
}

/// Whether all that is asked for can be had so.
pub(super) fn is_enough_for(args: &RunArgs) -> bool {
    args.is_reuseaddr
        && !args.is_reuseport
        && args.wait.is_none()
        && args.keep.is_empty()
        && args.json.is_none()
        && rustix::process::geteuid().is_root()
}

impl ReuseaddrGroup {
    /// Makes it, and says what it stands for.
    pub(super) fn make(refused: StartError) -> Result<Self> {
        let made = || -> Result<Self> {
            let group = Group::make().context("cannot make a control group")?;
            let reuseaddr = Reuseaddr::attach(&group.open()?)?;
            Ok(Self {
                entrance: group.entrance()?,
                _reuseaddr: reuseaddr,
                _group: group,
            })
        };
        match made() {
            Ok(made) => {
                complain(
                    "calls cannot be supervised here, so the kernel sets SO_REUSEADDR for the \
                     program's control group (cgroup/bind), and no failed call is explained",
                );
                Ok(made)
            }
            Err(error) => Err(refused).context(format!(
                "neither can SO_REUSEADDR be set for a control group ({error:#})"
            )),
        }
    }

    pub(super) fn entrance(&self) -> &File {
        &self.entrance
    }
}
