//! Questions about the running kernel's types.

use std::fs;
use std::path::PathBuf;

use super::KernelError;
use super::btf::{Btf, Member};

/// Where the kernel shows them.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Anonymous structs inside anonymous structs: the kernel has three levels.
const MAX_NESTING: u32 = 8;

/// Types of the running kernel.
pub(super) struct KernelTypes {
    btf: Btf,
}

impl KernelTypes {
    /// Reads the running kernel's types.
    pub(super) fn read() -> Result<Self, KernelError> {
        let path = PathBuf::from(VMLINUX);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(KernelError::NoTypeInformation { path, source }),
        };
        match Btf::parse(bytes) {
            Ok(btf) => Ok(Self { btf }),
            Err(source) => Err(KernelError::TypeInformation { path, source }),
        }
    }

    /// The member at the end of `path`, counted from the start of `name`.
    pub(super) fn member(&self, name: &str, path: &[&str]) -> Option<Member> {
        self.btf
            .structs(name)
            .iter()
            .find_map(|id| self.walk(*id, path))
    }

    /// Bytes of the struct.
    pub(super) fn size(&self, name: &str) -> Option<u32> {
        self.btf.size(*self.btf.structs(name).first()?)
    }

    /// Whether the member is a pointer.
    pub(super) fn is_pointer(&self, member: Member) -> bool {
        self.btf.is_pointer(member.type_id)
    }

    /// Whether the kernel has this function.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.btf.has_function(name)
    }

    /// Arguments of a tracepoint, without the one that belongs to the
    /// tracepoint itself.
    pub(super) fn tracepoint_args(&self, name: &str) -> Option<usize> {
        self.btf
            .parameters(&format!("btf_trace_{name}"))?
            .checked_sub(1)
    }

    /// Number of parameters of each of these functions, as far as they are there.
    pub(super) fn function_parameters(&self, names: &[&str]) -> Vec<Option<usize>> {
        self.btf.function_parameters(names)
    }

    /// For the loader, which asks for the numbers of these type definitions and
    /// functions and for nothing else.
    pub(super) fn for_loader(&self, names: &[String]) -> Result<aya::Btf, KernelError> {
        aya::Btf::parse(&self.btf.sparse(names), aya::Endianness::default())
            .map_err(|error| KernelError::Load(Box::new(error.into())))
    }

    /// Names and values of an enum.
    pub(super) fn enumerators(&self, name: &str) -> Vec<(i64, String)> {
        self.btf.enumerators(name)
    }

    fn walk(&self, type_id: u32, path: &[&str]) -> Option<Member> {
        let (first, rest) = path.split_first()?;
        let member = self.find(type_id, first, 0)?;
        if rest.is_empty() {
            return Some(member);
        }
        let inner = self.walk(member.type_id, rest)?;
        inside(member, inner)
    }

    /// The member `name`, also inside anonymous structs and unions.
    fn find(&self, type_id: u32, name: &str, depth: u32) -> Option<Member> {
        if depth > MAX_NESTING {
            return None;
        }
        self.btf
            .members(type_id)
            .find_map(|member| match self.btf.member_name(member) {
                "" => inside(member, self.find(member.type_id, name, depth + 1)?),
                found => (found == name).then_some(member),
            })
    }
}

/// `inner`, counted from where `outer` is counted from.
fn inside(outer: Member, mut inner: Member) -> Option<Member> {
    inner.bit_offset = outer.bit_offset.checked_add(inner.bit_offset)?;
    Some(inner)
}
