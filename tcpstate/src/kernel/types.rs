//! The running kernel's own description of its types (BTF).

use std::path::{Path, PathBuf};

use btf::{Btf, Type};

use super::KernelError;

/// Where the kernel shows it.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Anonymous structs inside anonymous structs: the kernel has three levels.
const MAX_NESTING: u32 = 8;

/// Types of the running kernel.
pub(super) struct KernelTypes {
    btf: Btf,
}

/// A member of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Bits from the start of the struct.
    pub(super) bit_offset: u32,
    /// Width of a bitfield; 0: not one.
    pub(super) bit_width: u32,
    type_id: u32,
}

impl KernelTypes {
    /// Reads the running kernel's types.
    pub(super) fn read() -> Result<Self, KernelError> {
        let path = PathBuf::from(VMLINUX);
        if !path.exists() {
            return Err(KernelError::NoTypeInformation { path });
        }
        Self::read_from(&path)
    }

    fn read_from(path: &Path) -> Result<Self, KernelError> {
        let btf = Btf::from_file(path).map_err(|source| KernelError::TypeInformation {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { btf })
    }

    /// The member at the end of `path`, counted from the start of `name`.
    pub(super) fn member(&self, name: &str, path: &[&str]) -> Option<Member> {
        self.structs(name).find_map(|id| self.walk(id, path))
    }

    /// Bytes of the struct.
    pub(super) fn size(&self, name: &str) -> Option<u32> {
        let id = self.structs(name).next()?;
        Some(self.btf.get_type_by_id(id).ok()?.bits / 8)
    }

    /// Whether the member is a pointer.
    pub(super) fn is_pointer(&self, member: Member) -> bool {
        self.btf
            .get_type_by_id(member.type_id)
            .is_ok_and(|ty| ty.num_refs > 0)
    }

    /// Whether the kernel has this function.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.btf
            .get_types()
            .iter()
            .any(|ty| ty.is_function && ty.name.as_deref() == Some(name))
    }

    /// Arguments of a tracepoint, without the one that belongs to the
    /// tracepoint itself.
    pub(super) fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let name = format!("btf_trace_{name}");
        self.btf
            .get_types()
            .iter()
            .find_map(|ty| match &ty.base_type {
                Type::FunctionProto(proto) if ty.name.as_deref() == Some(&name) => {
                    proto.params.len().checked_sub(1)
                }
                _ => None,
            })
    }

    /// Names and values of an enum.
    pub(super) fn enum_entries(&self, name: &str) -> Vec<(i64, String)> {
        let found = self.btf.get_types().iter().find_map(|ty| {
            if ty.name.as_deref() != Some(name) {
                return None;
            }
            match &ty.base_type {
                Type::Enum32(entries) | Type::Enum64(entries) => Some(entries),
                _ => None,
            }
        });
        found.map_or_else(Vec::new, |entries| {
            entries
                .entries
                .iter()
                .filter_map(|entry| Some((entry.value, entry.name.clone()?)))
                .collect()
        })
    }

    /// Every struct with this name; modules and forward declarations can make
    /// a name occur more than once.
    fn structs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.btf
            .get_types()
            .iter()
            .filter(move |ty| {
                ty.name.as_deref() == Some(name)
                    && ty.num_refs == 0
                    && matches!(ty.base_type, Type::Struct(_) | Type::Union(_))
            })
            .map(|ty| ty.type_id)
    }

    fn walk(&self, type_id: u32, path: &[&str]) -> Option<Member> {
        let (first, rest) = path.split_first()?;
        let member = self.find(type_id, first, 0)?;
        if rest.is_empty() {
            return Some(member);
        }
        let inner = self.walk(member.type_id, rest)?;
        Some(Member {
            bit_offset: member.bit_offset.checked_add(inner.bit_offset)?,
            ..inner
        })
    }

    /// The member `name`, also inside anonymous structs and unions.
    fn find(&self, type_id: u32, name: &str, depth: u32) -> Option<Member> {
        if depth > MAX_NESTING {
            return None;
        }
        let ty = self.btf.get_type_by_id(type_id).ok()?;
        let (Type::Struct(members) | Type::Union(members)) = &ty.base_type else {
            return None;
        };
        if ty.num_refs > 0 {
            return None;
        }
        members.members.iter().find_map(|member| {
            let member_name = member.name.as_deref().unwrap_or("");
            if member_name == name {
                return Some(Member {
                    bit_offset: member.offset,
                    bit_width: member.bits.unwrap_or(0),
                    type_id: member.type_id,
                });
            }
            if !member_name.is_empty() {
                return None;
            }
            let inner = self.find(member.type_id, name, depth + 1)?;
            Some(Member {
                bit_offset: member.offset.checked_add(inner.bit_offset)?,
                ..inner
            })
        })
    }
}
