//! Names of the errors that calls on TCP sockets end with.

use std::sync::Arc;

macro_rules! names {
    ($($name:ident)*) => {
        const NAMES: &[(i32, &str)] = &[$((libc::$name, stringify!($name)),)*];
    };
}

names! {
    EPERM ENOENT EINTR EIO EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY ENODEV EINVAL ENFILE EMFILE
    EPIPE EPROTO ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT EOPNOTSUPP
    EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET
    ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY
    EINPROGRESS ECANCELED
}

/// The error's name, such as `EADDRINUSE`; its number in words where we have
/// none.
pub(crate) fn name(errno: u32) -> Arc<str> {
    NAMES
        .iter()
        .find(|(value, _)| u32::try_from(*value) == Ok(errno))
        .map_or_else(
            || Arc::from(format!("errno {errno}")),
            |(_, name)| Arc::from(*name),
        )
}
