//! `SO_REUSEADDR` for the sockets of a control group, set by the kernel at each bind.

use std::fs::File;

use aya::programs::{CgroupAttachMode, CgroupSockAddr, ProgramError};
use aya::{Ebpf, EbpfLoader};

use super::KernelError;
use super::attach::reason;
use super::object::Object;
use crate::memory;

/// The programs, on a control group until this is dropped.
#[derive(Debug)]
pub struct Reuseaddr {
    _ebpf: Ebpf,
}

impl Reuseaddr {
    /// Sets the option from now on for each TCP socket of the cgroup (an open folder of cgroup
    /// v2) that binds to a port other than 0. Linux 6.1.
    ///
    /// # Errors
    ///
    /// The programs cannot be loaded or attached.
    pub fn attach(cgroup: &File) -> Result<Self, KernelError> {
        memory::lift_locked_limit();
        let object = Object::unpack().map_err(KernelError::Unpack)?;
        let mut ebpf = EbpfLoader::new()
            // Those are the other programs'.
            .map_max_entries("EVENTS", 4096)
            .map_max_entries("FAILED", 4096)
            .load(object.bytes())
            .map_err(|error| KernelError::Load(Box::new(error)))?;
        for name in ["reuseaddr_bind4", "reuseaddr_bind6"] {
            attach(&mut ebpf, name, cgroup).map_err(|error| KernelError::Required {
                name,
                kind: "cgroup",
                why: reason(&error),
            })?;
        }
        Ok(Self { _ebpf: ebpf })
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, cgroup: &File) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?;
    let program: &mut CgroupSockAddr = program.try_into()?;
    program.load()?;
    // A link goes beside whatever else is attached.
    program.attach(cgroup, CgroupAttachMode::Single)?;
    Ok(())
}
