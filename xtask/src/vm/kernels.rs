//! The kernels that the tests are run on: Debian's, for virtual machines.

use tcpstate_common::release::numbers;

use super::architecture::Architecture;

/// A kernel and where it comes from.
pub(super) struct Kernel {
    /// Its series, and its processor where that is not x86-64: what `--kernel` takes.
    pub(super) series: &'static str,
    pub(super) architecture: Architecture,
    /// What `uname -r` says in it.
    pub(super) release: &'static str,
    pub(super) packages: &'static [Package],
}

/// A package at the version that was tried.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
}

/// The suites that have them, oldest first: the archive and the suite.
pub(super) const SUITES: &[(&str, &str)] = &[
    (SECURITY, "bullseye-security"),
    (SECURITY, "bookworm-security"),
    (SECURITY, "trixie-security"),
    (MAIN, "trixie-backports"),
];
pub(super) const MAIN: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// Oldest first, those of other processors last. From 6.19 on a kernel is in several packages, and
/// `linux-image` is empty.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        series: "5.10",
        architecture: Architecture::X86_64,
        release: "5.10.0-46-cloud-amd64",
        packages: &[Package {
            name: "linux-image-5.10.0-46-cloud-amd64",
            version: "5.10.262-1",
            sha256: "18d94781d1b3052e21967ac2262239e5f14fbf511d6c3e110629d7aa35340760",
        }],
    },
    Kernel {
        series: "6.1",
        architecture: Architecture::X86_64,
        release: "6.1.0-56-cloud-amd64",
        packages: &[Package {
            name: "linux-image-6.1.0-56-cloud-amd64",
            version: "6.1.192-2",
            sha256: "e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee",
        }],
    },
    Kernel {
        series: "6.12",
        architecture: Architecture::X86_64,
        release: "6.12.117+deb13-cloud-amd64",
        packages: &[Package {
            name: "linux-image-6.12.117+deb13-cloud-amd64",
            version: "6.12.117-1",
            sha256: "e9893e5295d0549b8852611f12a4b8b5f6cc4b8128dcc2086b9847793b904ab7",
        }],
    },
    Kernel {
        series: "6.18",
        architecture: Architecture::X86_64,
        release: "6.18.15+deb13-cloud-amd64",
        packages: &[Package {
            name: "linux-image-6.18.15+deb13-cloud-amd64",
            version: "6.18.15-1~bpo13+1",
            sha256: "5a507681ea8c978d02265a7fec2f02c9588fb48b54b7f71edc1059e86007f3ec",
        }],
    },
    Kernel {
        series: "7.3",
        architecture: Architecture::X86_64,
        release: "7.3.4+deb13-cloud-amd64",
        packages: &[
            Package {
                name: "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
                version: "7.3.4-1~bpo13+1",
                sha256: "4dd49c9172767a16a8ebb3c61fb993e4c2e8deef082b64b38878b74b9638f704",
            },
            Package {
                name: "linux-modules-7.3.4+deb13-cloud-amd64",
                version: "7.3.4-1~bpo13+1",
                sha256: "359f04c363b7d3c5f9ce999ccb7351e00cc8eec0a30d6bc1cda37734987fc43d",
            },
        ],
    },
    Kernel {
        series: "6.12-arm64",
        architecture: Architecture::Arm64,
        release: "6.12.117+deb13-cloud-arm64",
        packages: &[Package {
            name: "linux-image-6.12.117+deb13-cloud-arm64:arm64",
            version: "6.12.117-1",
            sha256: "cc33e288505c3271539beab498aeb4f25e27b8f7c0c49ddb6c506b6d3c50c22f",
        }],
    },
];

impl Kernel {
    /// Its version, such as (6, 11); of another processor's kernel, too.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        numbers(self.series)
    }

    /// Tests that run at one time. Debian's kernels from 7 on interrupt a hook in the
    /// midst of its work, and on one processor it is then run for nobody else: of the
    /// calls that two tests have fail at a time, one would be lost.
    pub(super) fn tests_at_once(&self) -> u8 {
        if self.version() < Some((7, 0)) { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_has_a_version_whatever_its_processor() {
        for kernel in KERNELS {
            let version = kernel.version().unwrap();

            let named = format!("{}.{}", version.0, version.1);
            assert!(kernel.release.starts_with(&named), "{}", kernel.series);
        }
    }
}
