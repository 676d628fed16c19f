//! The kernel program, as `cargo xtask ebpf build` made it and `build.rs` packed it.

use std::io;

use zerocopy::IntoBytes as _;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcpstate.bpf.o.zst"));
const SIZE: &str = env!("TCPSTATE_BPF_SIZE");

/// The object, where an ELF file may lie: on a boundary of eight bytes.
pub(super) struct Object {
    words: Vec<u64>,
    size: usize,
}

impl Object {
    /// Takes about a millisecond. It need not be kept: what was loaded is the kernel's.
    pub(super) fn unpack() -> io::Result<Self> {
        let size: usize = SIZE.parse().map_err(io::Error::other)?;
        let mut words = vec![0; size.div_ceil(size_of::<u64>())];
        let unpacked = zstd::bulk::decompress_to_buffer(PACKED, words.as_mut_bytes())?;
        if unpacked == size {
            Ok(Self { words, size })
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.words.as_bytes().get(..self.size).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_the_committed_object() {
        let object = Object::unpack().unwrap();

        assert!(object.bytes() == include_bytes!("../../bpf/tcpstate.bpf.o"));
        assert_eq!(object.bytes().as_ptr().addr() % 8, 0);
        assert!(PACKED.len() < object.bytes().len() / 5, "{}", PACKED.len());
    }
}
