//! A weak reference to a namespace: a file handle. It keeps nothing alive,
//! tells for certain that a namespace is gone, and is not fooled by an inode
//! number that the next namespace gets. Linux 6.18 has them.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// `struct nsfs_file_handle` has 16 bytes.
const BYTES: usize = 16;

/// `struct file_handle` with room for a namespace's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    bytes: u32,
    kind: i32,
    id: [u8; BYTES],
}

impl Handle {
    /// The handle of an open namespace; `None`: this kernel has none.
    #[expect(unsafe_code, reason = "no safe wrapper for name_to_handle_at")]
    pub(super) fn of(namespace: &File) -> Option<Self> {
        let mut handle = Self {
            bytes: u32::try_from(BYTES).unwrap_or(0),
            kind: 0,
            id: [0; BYTES],
        };
        let mut mount = 0;
        // SAFETY: the descriptor is open, the path ends in NUL, and the handle says how
        // long it is.
        let result = unsafe {
            libc::name_to_handle_at(
                namespace.as_raw_fd(),
                c"".as_ptr(),
                (&raw mut handle).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        (result == 0).then_some(handle)
    }

    /// The namespace. `Ok(None)`: it does not exist any more.
    #[expect(unsafe_code, reason = "no safe wrapper for open_by_handle_at")]
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        // Any file of the file system that namespaces are files of.
        let any = File::open("/proc/thread-self/ns/net")?;
        let mut handle = *self;
        // SAFETY: the descriptor is open, and the handle says how long it is;
        // the kernel only reads it.
        let fd = unsafe {
            libc::open_by_handle_at(
                any.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_RDONLY | libc::O_CLOEXEC,
            )
        };
        if fd >= 0 {
            // SAFETY: just opened, owned by nobody else.
            return Ok(Some(File::from(unsafe { OwnedFd::from_raw_fd(fd) })));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ESTALE) => Ok(None),
            _ => Err(error),
        }
    }
}
