//! `tcpstate replay`: a recording through the same engine again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};

use anyhow::{Context as _, Result, bail};

use crate::cli::{ReplayArgs, ReplayFormat};
use crate::engine::Limits;
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{OutputError, Outputs, Pipeline, Selector};
use crate::recording::reader::Reader;

/// Replays the recording as text or JSON.
pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let name = args.file.display().to_string();
    let file =
        File::open(&args.file).with_context(|| format!("cannot open the recording {name}"))?;
    let stdout = BufWriter::new(io::stdout());
    let stdout = match args.format {
        ReplayFormat::Text if !args.json => Stdout::Text(Box::new(stdout)),
        ReplayFormat::Text | ReplayFormat::Json => Stdout::Json(Box::new(stdout)),
    };
    let mut pipeline = Pipeline::new(
        Limits::default(),
        Selector::default(),
        Outputs::new(stdout, None),
    );
    let mut bad_lines = 0_u64;
    for event in Reader::new(BufReader::with_capacity(1 << 20, file)) {
        match event {
            Ok(event) => match pipeline.feed(event.mono_ns, event.body) {
                Ok(()) => {}
                Err(OutputError::BrokenPipe) => return Ok(()),
                Err(error) => return Err(error.into()),
            },
            Err(error) => {
                bad_lines += 1;
                if bad_lines <= SHOWN_ERRORS {
                    super::complain(&format!("{name}: {error}"));
                }
            }
        }
    }
    match pipeline.write_out() {
        Ok(()) | Err(OutputError::BrokenPipe) => {}
        Err(error) => return Err(error.into()),
    }
    if pipeline.engine().header().is_none() {
        bail!(
            "{name} has no header line: it is not a recording of tcpstate, or its beginning is missing"
        );
    }
    if bad_lines > 0 {
        bail!("{bad_lines} of the lines of {name} could not be read; the others were replayed");
    }
    Ok(())
}

/// Bad lines that are named one by one; the rest are counted.
const SHOWN_ERRORS: u64 = 10;
