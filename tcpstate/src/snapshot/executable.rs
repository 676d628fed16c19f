//! The language that a program's file shows it was written in.
//!
//! Go and Rust leave a mark in the ELF file that survives stripping; programs
//! that run in an interpreter are known by the interpreter's name.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::proc;

/// Sections of one file that are looked at; a usual program has 30 to 40.
const MAX_SECTIONS: usize = 512;
/// Bytes of a section that are looked at.
const MAX_BYTES: usize = 64 * 1024;

/// `go` or `rust`; `None`: the file shows neither, or cannot be read.
#[must_use]
pub fn language(pid: u32) -> Option<Arc<str>> {
    // Through this link the file is found in its own mount namespace, and also
    // after it was replaced.
    let file = File::open(proc::of(pid).join("exe")).ok()?;
    language_of(&file).map(Arc::from)
}

fn language_of(file: &File) -> Option<&'static str> {
    let header: [u8; 64] = read(file, 0)?;
    // 64 bits, little-endian: what the BPF program runs on.
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table_at = u64_at(&header, 0x28)?;
    let entry_len = u64::from(u16_at(&header, 0x3a)?);
    let count = u64::from(u16_at(&header, 0x3c)?);
    let names_index = u64::from(u16_at(&header, 0x3e)?);
    let section = |index: u64| -> Option<[u8; 64]> {
        read(file, table_at.checked_add(index.checked_mul(entry_len)?)?)
    };
    let names = contents(file, &section(names_index)?)?;
    let mut comment = None;
    for index in 0..count.min(MAX_SECTIONS as u64) {
        let entry = section(index)?;
        let name = names.get(usize::try_from(u32_at(&entry, 0)?).ok()?..)?;
        if name.starts_with(b".go.buildinfo\0") || name.starts_with(b".note.go.buildid\0") {
            return Some("go");
        }
        if name.starts_with(b".comment\0") {
            comment = contents(file, &entry);
        }
    }
    let is_rust = comment.is_some_and(|text| {
        text.windows(b"rustc version".len())
            .any(|words| words == b"rustc version")
    });
    is_rust.then_some("rust")
}

/// What a section holds, as far as it is looked at.
fn contents(file: &File, entry: &[u8]) -> Option<Vec<u8>> {
    let at = u64_at(entry, 0x18)?;
    let len = usize::try_from(u64_at(entry, 0x20)?).unwrap_or(MAX_BYTES);
    let mut bytes = vec![0; len.min(MAX_BYTES)];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn read<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_rust_program_and_the_shell_is_none() {
        assert_eq!(language(std::process::id()).as_deref(), Some("rust"));
        let shell = File::open("/bin/sh").unwrap();
        assert_eq!(language_of(&shell), None);
    }

    #[test]
    fn a_go_program_is_known_by_a_section_of_its_own() {
        assert_eq!(language_of(&elf(&[".text", ".go.buildinfo"])), Some("go"));
        assert_eq!(language_of(&elf(&[".text", ".data"])), None);
    }

    #[test]
    fn a_file_that_ends_too_early_says_nothing() {
        let whole = elf(&[".text", ".go.buildinfo"]);
        let len = whole.metadata().unwrap().len();
        for cut in 0..len {
            let file = tempfile::tempfile().unwrap();
            let mut bytes = vec![0; usize::try_from(cut).unwrap()];
            whole.read_exact_at(&mut bytes, 0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            assert_eq!(language_of(&file), None, "{cut}");
        }
    }

    /// A file with these sections, the last of which holds their names.
    fn elf(names: &[&str]) -> File {
        let mut strings = Vec::new();
        let mut starts = Vec::new();
        for name in names.iter().chain(&[".shstrtab"]) {
            starts.push(u32::try_from(strings.len()).unwrap());
            strings.extend(name.bytes());
            strings.push(0);
        }
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        let table_at = 64 + u64::try_from(strings.len()).unwrap();
        bytes[0x28..0x30].copy_from_slice(&table_at.to_le_bytes());
        bytes[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        let count = u16::try_from(starts.len()).unwrap();
        bytes[0x3c..0x3e].copy_from_slice(&count.to_le_bytes());
        bytes[0x3e..0x40].copy_from_slice(&(count - 1).to_le_bytes());
        bytes.extend(&strings);
        for start in starts {
            let mut entry = [0; 64];
            entry[..4].copy_from_slice(&start.to_le_bytes());
            entry[0x18..0x20].copy_from_slice(&64_u64.to_le_bytes());
            let len = u64::try_from(strings.len()).unwrap();
            entry[0x20..0x28].copy_from_slice(&len.to_le_bytes());
            bytes.extend(entry);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file
    }
}
