//! What differs between the processors that guests have.

use std::path::Path;

/// The processor of a guest. The host's is an x86-64 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Architecture {
    X86_64,
    Arm64,
}

/// What runs in the guest and is not on every host.
const GUEST_PACKAGES: &[&str] = &[
    "busybox-static",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libffi8",
];
/// All that runs in the guest, where the host's own programs do not.
const ARM64_GUEST_PACKAGES: &[&str] = &[
    "busybox-static:arm64",
    "python3.11-minimal:arm64",
    "libpython3.11-minimal:arm64",
    "libpython3.11-stdlib:arm64",
    "libffi8:arm64",
    "iproute2:arm64",
    "util-linux:arm64",
    "procps:arm64",
    "libcap2-bin:arm64",
    "socat:arm64",
    // What these need.
    "libc6:arm64",
    "libgcc-s1:arm64",
    "libcap2:arm64",
    "libcap-ng0:arm64",
    "libssl3:arm64",
    "zlib1g:arm64",
    "libexpat1:arm64",
    "libbpf1:arm64",
    "libelf1:arm64",
    "libmnl0:arm64",
    "libselinux1:arm64",
    "libpcre2-8-0:arm64",
    "libxtables12:arm64",
    "libdb5.3:arm64",
    "libbsd0:arm64",
    "libmd0:arm64",
    "libproc2-0:arm64",
    "libwrap0:arm64",
    "libnsl2:arm64",
    "libtirpc3:arm64",
    "libgssapi-krb5-2:arm64",
    "libkrb5-3:arm64",
    "libk5crypto3:arm64",
    "libkrb5support0:arm64",
    "libcom-err2:arm64",
    "libkeyutils1:arm64",
];

impl Architecture {
    /// The packages that are unpacked for its guests, and the name of their tree.
    pub(super) fn guest_packages(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::X86_64 => ("guest", GUEST_PACKAGES),
            Self::Arm64 => ("guest-arm64", ARM64_GUEST_PACKAGES),
        }
    }

    /// The machine's program, the package that has it, and the name of its tree.
    pub(super) fn qemu(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86", "qemu"),
            Self::Arm64 => ("qemu-system-aarch64", "qemu-system-arm", "qemu-arm64"),
        }
    }

    /// Which machine, and which processor.
    pub(super) fn machine(self) -> [&'static str; 4] {
        match self {
            Self::X86_64 => ["-M", "q35", "-cpu", "max"],
            Self::Arm64 => ["-M", "virt", "-cpu", "cortex-a72"],
        }
    }

    /// Its first serial port, where the kernel's console is.
    pub(super) fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// Its second serial port, where the outcome goes.
    pub(super) fn second_port(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS1",
            Self::Arm64 => "ttyS0",
        }
    }

    /// The options with which QEMU writes the second serial port to `file`.
    pub(super) fn second_port_to(self, file: &Path) -> Vec<String> {
        let file = file.display();
        match self {
            Self::X86_64 => vec!["-serial".to_owned(), format!("file:{file}")],
            // The machine has one of its own only.
            Self::Arm64 => vec![
                "-chardev".to_owned(),
                format!("file,id=outcome,path={file}"),
                "-device".to_owned(),
                "pci-serial,chardev=outcome".to_owned(),
            ],
        }
    }
}
