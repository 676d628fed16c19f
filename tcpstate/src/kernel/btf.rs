//! A reader for the kernel's type information (BTF), as laid out in
//! `Documentation/bpf/btf.rst`.
//!
//! Written here because we want a hundred fields out of 150,000 types: reading
//! them in place takes 7 ms, while the crates that turn every type into an owned
//! one take 130 ms and more (`docs/decisions/003-own-btf-reader.md`).

mod sparse;

use std::collections::HashMap;
use std::ops::Range;

use thiserror::Error;

/// Why type information could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// Does not begin as it must.
    #[error("not BTF in this machine's byte order")]
    Magic,
    /// Ends in the middle of something.
    #[error("cut short at byte {0}")]
    Short(usize),
    /// A kind that was added after this was written.
    #[error("type {id} is of the unknown kind {kind}")]
    Kind {
        /// Number of the type.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

const MAGIC: u16 = 0xeb9f;
/// Bytes that each type begins with: name, info, size or type.
const TYPE_HEAD: usize = 12;
const MEMBER: usize = 12;

/// Kinds of types, as `BTF_KIND_*`.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Type information, indexed but not unpacked.
pub(super) struct Btf {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Where each type begins; type 0 is `void` and has no place.
    offsets: Vec<usize>,
    /// Structs and unions by name.
    structs: HashMap<String, Vec<u32>, foldhash::fast::RandomState>,
}

/// A type's head.
#[derive(Clone, Copy)]
struct Type {
    offset: usize,
    name: u32,
    kind: u32,
    count: usize,
    /// Offsets of members carry the width of a bitfield.
    has_bitfields: bool,
    /// Size of a struct, or the type that this one is about.
    detail: u32,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Bits from the start of the struct.
    pub(super) bit_offset: u32,
    /// Width of a bitfield; 0: not one.
    pub(super) bit_width: u32,
    /// Its type.
    pub(super) type_id: u32,
    name: u32,
}

impl Btf {
    /// Indexes `bytes`.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if u16_at(&bytes, 0)? != MAGIC {
            return Err(BtfError::Magic);
        }
        let head_len = u32_at(&bytes, 4)? as usize;
        let section = |at: usize| -> Result<Range<usize>, BtfError> {
            let offset = u32_at(&bytes, at)? as usize;
            let len = u32_at(&bytes, at + 4)? as usize;
            let start = head_len.saturating_add(offset);
            let end = start.saturating_add(len);
            if end > bytes.len() {
                return Err(BtfError::Short(bytes.len()));
            }
            Ok(start..end)
        };
        let types = section(8)?;
        let strings = section(16)?;
        let mut btf = Self {
            bytes,
            strings,
            offsets: vec![0],
            structs: HashMap::default(),
        };
        btf.index(types)?;
        Ok(btf)
    }

    fn index(&mut self, types: Range<usize>) -> Result<(), BtfError> {
        let mut offset = types.start;
        while offset < types.end {
            let ty = self.head(offset)?;
            let id = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
            self.offsets.push(offset);
            let tail = match ty.kind {
                kind::PTR
                | kind::FWD
                | kind::TYPEDEF
                | kind::VOLATILE
                | kind::CONST
                | kind::RESTRICT
                | kind::FUNC
                | kind::FLOAT
                | kind::TYPE_TAG => 0,
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION => {
                    if let Some(name) = self.name(ty.name)
                        && !name.is_empty()
                    {
                        let name = name.to_owned();
                        self.structs.entry(name).or_default().push(id);
                    }
                    MEMBER * ty.count
                }
                kind::ENUM | kind::FUNC_PROTO => 8 * ty.count,
                kind::DATASEC | kind::ENUM64 => 12 * ty.count,
                kind => return Err(BtfError::Kind { id, kind }),
            };
            offset += TYPE_HEAD + tail;
        }
        Ok(())
    }

    /// Every struct and union with this name.
    pub(super) fn structs(&self, name: &str) -> &[u32] {
        self.structs.get(name).map_or(&[], Vec::as_slice)
    }

    /// Bytes of a struct or union.
    pub(super) fn size(&self, id: u32) -> Option<u32> {
        let ty = self.ty(id)?;
        matches!(ty.kind, kind::STRUCT | kind::UNION).then_some(ty.detail)
    }

    /// Members of the struct or union that `id` names, directly or through
    /// type definitions and qualifiers.
    pub(super) fn members(&self, id: u32) -> impl Iterator<Item = Member> + '_ {
        let ty = self
            .resolved(id)
            .filter(|ty| matches!(ty.kind, kind::STRUCT | kind::UNION));
        let count = ty.map_or(0, |ty| ty.count);
        (0..count).filter_map(move |index| {
            let ty = ty?;
            let at = ty.offset + TYPE_HEAD + index * MEMBER;
            let offset = self.u32(at + 8)?;
            let (bit_offset, bit_width) = if ty.has_bitfields {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            Some(Member {
                bit_offset,
                bit_width,
                type_id: self.u32(at + 4)?,
                name: self.u32(at)?,
            })
        })
    }

    /// Name of a member; empty: anonymous.
    pub(super) fn member_name(&self, member: Member) -> &str {
        self.name(member.name).unwrap_or("")
    }

    /// Whether the type is a pointer.
    pub(super) fn is_pointer(&self, id: u32) -> bool {
        self.resolved(id).is_some_and(|ty| ty.kind == kind::PTR)
    }

    /// Whether there is a function with this name.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.find(&[kind::FUNC], name).is_some()
    }

    /// Number of parameters of the function type that a type definition points
    /// to.
    pub(super) fn parameters(&self, typedef: &str) -> Option<usize> {
        let pointer = self.resolved(self.find(&[kind::TYPEDEF], typedef)?.detail)?;
        if pointer.kind != kind::PTR {
            return None;
        }
        let function = self.resolved(pointer.detail)?;
        (function.kind == kind::FUNC_PROTO).then_some(function.count)
    }

    /// Number of parameters of each of these functions, as far as they are there.
    pub(super) fn function_parameters(&self, names: &[&str]) -> Vec<Option<usize>> {
        let mut found = vec![None; names.len()];
        let functions = self
            .offsets
            .iter()
            .skip(1)
            .filter_map(|offset| self.head(*offset).ok())
            .filter(|ty| ty.kind == kind::FUNC);
        for ty in functions {
            let Some(index) = names.iter().position(|name| self.is_named(ty.name, name)) else {
                continue;
            };
            found[index] = self
                .resolved(ty.detail)
                .filter(|ty| ty.kind == kind::FUNC_PROTO)
                .map(|ty| ty.count);
        }
        found
    }

    /// Names and values of an enum.
    pub(super) fn enumerators(&self, name: &str) -> Vec<(i64, String)> {
        let Some(ty) = self.find(&[kind::ENUM], name) else {
            return Vec::new();
        };
        (0..ty.count)
            .filter_map(|index| {
                let at = ty.offset + TYPE_HEAD + index * 8;
                let name = self.name(self.u32(at)?)?.to_owned();
                Some((i64::from(self.u32(at + 4)?.cast_signed()), name))
            })
            .collect()
    }

    fn find(&self, kinds: &[u32], name: &str) -> Option<Type> {
        self.offsets
            .iter()
            .skip(1)
            .filter_map(|offset| self.head(*offset).ok())
            .find(|ty| kinds.contains(&ty.kind) && self.is_named(ty.name, name))
    }

    /// The type behind type definitions and qualifiers.
    fn resolved(&self, mut id: u32) -> Option<Type> {
        // Chains are short; a longer one is a circle.
        for _ in 0..32 {
            let ty = self.ty(id)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.detail;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn ty(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        let offset = self.offsets.get(usize::try_from(id).ok()?)?;
        self.head(*offset).ok()
    }

    fn head(&self, offset: usize) -> Result<Type, BtfError> {
        let info = u32_at(&self.bytes, offset + 4)?;
        Ok(Type {
            offset,
            name: u32_at(&self.bytes, offset)?,
            kind: (info >> 24) & 0x1f,
            count: (info & 0xffff) as usize,
            has_bitfields: info >> 31 == 1,
            detail: u32_at(&self.bytes, offset + 8)?,
        })
    }

    fn name(&self, offset: u32) -> Option<&str> {
        let bytes = self.string_from(offset)?;
        let len = bytes.iter().position(|byte| *byte == 0)?;
        str::from_utf8(&bytes[..len]).ok()
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.string_from(offset).is_some_and(|bytes| {
            bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&0)
        })
    }

    fn string_from(&self, offset: u32) -> Option<&[u8]> {
        self.bytes
            .get(self.strings.clone())?
            .get(usize::try_from(offset).ok()?..)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        u32_at(&self.bytes, at).ok()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, BtfError> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found
        .map(|bytes| u16::from_ne_bytes(*bytes))
        .ok_or(BtfError::Short(at))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or(BtfError::Short(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int:3 bits at 5; struct { int inner at 32; }; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0bits\0inner\0";
        let (int, outer, bits, inner) = (1_u32, 5, 11, 16);
        let mut types = Vec::new();
        let mut push = |words: &[u32]| {
            types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        };
        push(&[int, kind::INT << 24, 4, 32]);
        push(&[0, kind::STRUCT << 24 | 1, 4, inner, 1, 0]);
        push(&[
            outer,
            1 << 31 | kind::STRUCT << 24 | 2,
            8,
            bits,
            1,
            3 << 24 | 5,
            0,
            2,
            32,
        ]);
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        let type_len = u32::try_from(types.len()).unwrap();
        let string_len = u32::try_from(strings.len()).unwrap();
        for word in [24, 0, type_len, type_len, string_len] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_and_bitfields_are_found() {
        let btf = Btf::parse(sample()).unwrap();

        let [id] = btf.structs("outer") else {
            panic!("one struct");
        };
        let members: Vec<Member> = btf.members(*id).collect();

        assert_eq!(btf.size(*id), Some(8));
        assert_eq!(btf.member_name(members[0]), "bits");
        assert_eq!((members[0].bit_offset, members[0].bit_width), (5, 3));
        assert_eq!(btf.member_name(members[1]), "");
        assert_eq!(btf.members(members[1].type_id).count(), 1);
        assert!(btf.structs("nothing").is_empty());
    }

    #[test]
    fn no_cut_or_flipped_input_is_a_panic() {
        let whole = sample();

        for len in 0..whole.len() {
            assert!(Btf::parse(whole[..len].to_vec()).is_err());
        }
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 0xff;
            if let Ok(btf) = Btf::parse(flipped) {
                for id in 0..8 {
                    let _ = (btf.members(id).count(), btf.size(id), btf.is_pointer(id));
                }
            }
        }
    }
}
