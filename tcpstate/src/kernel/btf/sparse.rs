//! The kernel's types with all but a few left blank.
//!
//! The loader library turns each type that it is given into an owned one, and only
//! asks for the numbers of those that programs are attached to. A number is a place
//! in the row: blank types keep the others in theirs.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Btf, MAGIC, TYPE_HEAD, kind};

/// Length of a header, which the types follow.
const HEAD_LEN: u32 = 24;

impl Btf {
    /// The same row of types, of which only the functions and the type definitions
    /// with one of these names have one.
    pub(in crate::kernel) fn sparse(&self, names: &[String]) -> Vec<u8> {
        // The empty name comes first.
        let mut strings = vec![0];
        let mut offsets: HashMap<&[u8], u32, FixedState> = HashMap::default();
        for name in names {
            offsets.insert(name.as_bytes(), length(&strings));
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        let mut types = Vec::with_capacity(self.offsets.len() * TYPE_HEAD);
        for offset in self.offsets.iter().skip(1) {
            let named = self
                .head(*offset)
                .ok()
                .filter(|ty| matches!(ty.kind, kind::FUNC | kind::TYPEDEF))
                .and_then(|ty| Some((*offsets.get(self.name(ty.name)?.as_bytes())?, ty)));
            let words = match named {
                Some((name, ty)) => [name, ty.kind << 24, ty.detail],
                None => [0, kind::FWD << 24, 0],
            };
            types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        let mut bytes = Vec::with_capacity(HEAD_LEN as usize + types.len() + strings.len());
        bytes.extend(MAGIC.to_ne_bytes());
        // Version 1, no flags.
        bytes.extend([1, 0]);
        let type_len = length(&types);
        for word in [HEAD_LEN, 0, type_len, type_len, length(&strings)] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }
}

/// Type information is far below 4 GiB.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the function or type definition with this name.
    fn number(btf: &Btf, name: &str) -> Option<usize> {
        let offset = btf.find(&[kind::FUNC, kind::TYPEDEF], name)?.offset;
        btf.offsets.iter().position(|other| *other == offset)
    }

    #[test]
    fn what_is_named_has_the_number_that_it_has_among_all() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        let all = Btf::parse(bytes).unwrap();
        let names = [
            "btf_trace_inet_sock_set_state",
            "bpf_iter_tcp",
            "tcp_set_state",
        ];

        let bytes = all.sparse(&names.map(str::to_owned));

        assert!(aya::Btf::parse(&bytes, aya::Endianness::default()).is_ok());
        let few = Btf::parse(bytes).unwrap();
        assert_eq!(few.offsets.len(), all.offsets.len());
        for name in names {
            assert!(number(&all, name).is_some(), "{name}");
            assert_eq!(number(&few, name), number(&all, name), "{name}");
        }
        assert!(number(&all, "tcp_close").is_some());
        assert_eq!(number(&few, "tcp_close"), None);
    }
}
