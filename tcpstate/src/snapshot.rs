//! Looks into the kernel's tables: sockets, namespaces, processes, settings.

pub mod netns;
pub mod owners;
pub mod sock_diag;
pub mod sysctl;
