//! One port's bind bucket, read on demand: nothing is attached, nothing is
//! observed besides.

use std::os::fd::{AsFd, AsRawFd as _};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    programs::{Iter, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};

use super::attach::reason;
use super::iter_tcp::{self, IterError};
use super::settings::Settings;
use super::types::KernelTypes;
use super::{Decoder, KernelError, Options, load, preflight, ring};
use crate::event::Seen;
use crate::snapshot::{SocketItem, cgroup};

/// The program that walks a bucket.
const PROGRAM: &str = "port_bucket";
/// One answer is some 3 KB; the smallest buffer of every page size.
const ANSWERS_BYTES: u32 = 1 << 16;

/// Reads what is in a port's bind bucket: every socket that holds the port,
/// with its options, also those that no table of the kernel lists.
pub struct PortReader {
    ebpf: Ebpf,
    answers: RingBuf<MapData>,
    decoder: Decoder,
}

impl PortReader {
    /// Loads the program for questions about `port`.
    pub fn start(port: u16) -> Result<Self, KernelError> {
        preflight::check()?;
        let types = KernelTypes::read()?;
        let options = Options {
            ports: vec![port..=port],
            ..Options::default()
        };
        let settings = Settings::new(&options, &types, None)?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("EVENTS", ANSWERS_BYTES);
        // Nothing is observed.
        loader.map_max_entries("FAILED", ANSWERS_BYTES);
        loader.map_max_entries("REPEATS", 1);
        loader.map_max_entries("USERS", 1);
        let mut ebpf = settings.open(&mut loader)?;
        let program: &mut RawTracePoint = program(&mut ebpf, PROGRAM)?;
        program.load().map_err(|error| refused(&error))?;
        Ok(Self {
            answers: ring::map(&mut ebpf, "EVENTS")?,
            ebpf,
            decoder: load::decoder(&types).with_cgroups(cgroup::Hierarchy::open()),
        })
    }

    /// The sockets that hold `port` in the namespace of `guide`, a TCP socket
    /// of the calling process, which does not count itself. `None`: the bucket
    /// could not be walked.
    pub fn read(&mut self, guide: impl AsFd, port: u16) -> Result<Option<Seen>, KernelError> {
        let fd = u64::try_from(guide.as_fd().as_raw_fd()).unwrap_or(u64::MAX);
        let mut arguments = [0; 12];
        arguments[0] = fd;
        arguments[1] = u64::from(port);
        let program: &mut RawTracePoint = program(&mut self.ebpf, PROGRAM)?;
        program
            .test_run(RawTracePointRunOptions {
                args: arguments,
                cpu: None,
            })
            .map_err(|error| refused(&error))?;
        let Some(answer) = self.answers.next() else {
            return Ok(None);
        };
        Ok(self.decoder.port(&answer).unwrap_or(None))
    }

    /// The sockets of the port that the kernel's tables list, in the calling
    /// thread's namespace: for buckets with more than an answer takes.
    pub fn list(&mut self) -> Result<Vec<SocketItem>, IterError> {
        let start = |error: &dyn std::error::Error| IterError::Start(error.to_string());
        let program: &mut Iter =
            program(&mut self.ebpf, "iter_tcp").map_err(|error| start(&error))?;
        if program.fd().is_err() {
            let btf = Btf::from_sys_fs().map_err(|error| start(&error))?;
            program
                .load("tcp", &btf)
                .map_err(|error| IterError::Start(reason(&error)))?;
        }
        let items = iter_tcp::read(program, &self.decoder)?;
        Ok(items.into_iter().map(|(_, item)| item).collect())
    }
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(ProgramError::NotLoaded)
        .and_then(TryInto::try_into)
        .map_err(|error| refused(&error))
}

fn refused(error: &ProgramError) -> KernelError {
    KernelError::Required {
        name: "the bind bucket",
        kind: "raw_tp, run on demand",
        why: reason(error),
    }
}
