//! Errors of calls, as far as something follows from which one it is.

use super::call::Call;

/// An error of `bind`, `listen` or `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// `EPERM`.
    Perm,
    /// `EACCES`.
    Acces,
    /// `EINVAL`.
    Inval,
    /// `EADDRINUSE`.
    AddrInUse,
    /// `EADDRNOTAVAIL`.
    AddrNotAvail,
    /// Any other one.
    Other,
}

impl Errno {
    /// Whether the kernel refuses for want of a right.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Acces | Self::Perm)
    }
}

impl Call {
    /// Its error; `None`: it has none. The name decides where there is one: numbers differ
    /// between architectures.
    #[must_use]
    pub fn error(&self) -> Option<Errno> {
        Some(match (self.errno_name.as_deref(), self.errno) {
            (None, None) => return None,
            (Some("EPERM"), _) | (None, Some(1)) => Errno::Perm,
            (Some("EACCES"), _) | (None, Some(13)) => Errno::Acces,
            (Some("EINVAL"), _) | (None, Some(22)) => Errno::Inval,
            (Some("EADDRINUSE"), _) | (None, Some(98)) => Errno::AddrInUse,
            (Some("EADDRNOTAVAIL"), _) | (None, Some(99)) => Errno::AddrNotAvail,
            _ => Errno::Other,
        })
    }
}
