//! `tcpstate replay`: a recording through the same engine again.

mod advance;
mod checkpoints;
mod dashboard;
mod player;
mod seek;
mod state;

use std::io::{self, IsTerminal as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::cli::{Format, ReplayArgs};
use crate::engine::Limits;
use crate::event::{Body, Event};
use crate::pipeline::outputs::Stdout;
use crate::pipeline::{OutputError, Outputs, Pipeline, Selector};
use crate::printable::printable;
use crate::recording::input;
use crate::recording::reader::{ReadError, Reader};

/// Replays the recording: on the dashboard, as text or JSON.
pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let stdout = io::stdout();
    let format = args.output.format(io::stdout().is_terminal());
    let stdout = match format {
        Format::Tui => {
            let config = super::config::of(&args.output)?;
            // What the dashboard saves, and what a compressed recording is unpacked into.
            super::confine_reader(&[".".into(), "/var/tmp".into(), std::env::temp_dir()])?;
            return super::watch::runtime()?.block_on(dashboard::run(&args.files, config));
        }
        Format::Text => Stdout::Text(Box::new(stdout)),
        Format::Json => Stdout::Json(Box::new(stdout)),
    };
    super::confine_reader(&[])?;
    let mut replay = TextReplay {
        pipeline: Pipeline::new(
            Limits::default(),
            Selector::default(),
            Outputs::new(stdout, None),
        ),
        bad_lines: 0,
        is_truncated: false,
        is_text: format == Format::Text,
        is_age_noted: false,
    };
    match replay.files(&args.files) {
        Err(error) if matches!(error.downcast_ref(), Some(OutputError::BrokenPipe)) => Ok(()),
        result => result,
    }
}

/// A host's name is 64 bytes at most; that of a recording may be anything.
const MAX_HOST: usize = 64;
/// Bad lines that are named one by one; the rest are counted.
const MAX_SHOWN_ERRORS: u64 = 10;

/// A replay as text or JSON: no screen, no seeking.
struct TextReplay {
    pipeline: Pipeline,
    bad_lines: u64,
    /// It ends in the middle of a line, which was reported.
    is_truncated: bool,
    is_text: bool,
    /// It was noted that advice is as old as the recording.
    is_age_noted: bool,
}

impl TextReplay {
    fn files(&mut self, files: &[impl AsRef<Path>]) -> Result<()> {
        for file in files {
            self.file(file.as_ref())?;
        }
        self.pipeline.write_out()?;
        // A truncated recording was reported and is no failure: all that is there was read.
        if !self.is_truncated && self.pipeline.engine().footer().is_none() {
            super::complain(
                "the recording has no footer: it was cut, goes on in another part, or is still \
                 being written; what came after its last line is not known",
            );
        }
        if self.bad_lines > 0 {
            let of = match files {
                [only] => only.as_ref().display().to_string(),
                _ => "the recording".to_owned(),
            };
            bail!(
                "{} of the lines of {of} could not be read; the others were replayed",
                self.bad_lines
            );
        }
        Ok(())
    }

    /// One file: the whole recording, or a part of it.
    fn file(&mut self, file: &Path) -> Result<()> {
        let name = file.display().to_string();
        let input =
            input::open(file).with_context(|| format!("cannot open the recording {name}"))?;
        let mut has_header = false;
        let mut reader = Reader::new(input);
        while let Some(event) = reader.next() {
            match event {
                Ok(event) if matches!(event.body, Body::Header(_)) => {
                    if let Err(error) = self.header(&name, reader.line(), event) {
                        self.pipeline.write_out()?;
                        return Err(error);
                    }
                    has_header = true;
                }
                Ok(event) => {
                    self.note_age(&event)?;
                    self.pipeline.feed(event.mono_ns, event.body)?;
                }
                Err(error @ ReadError::Cut { .. }) => {
                    self.is_truncated = true;
                    super::complain(&format!("{name}: {error}"));
                }
                Err(error) => {
                    self.bad_lines += 1;
                    if self.bad_lines <= MAX_SHOWN_ERRORS {
                        super::complain(&format!("{name}: {error}"));
                    }
                }
            }
        }
        if !has_header {
            self.pipeline.write_out()?;
            bail!(
                "{name} has no header line: it is not a recording of tcpstate, or its beginning is missing"
            );
        }
        Ok(())
    }

    /// Notes once, above the first call that failed, that its advice was meant for the
    /// machine at the time of the recording.
    fn note_age(&mut self, event: &Event) -> Result<()> {
        let has_failed = event.body.call().is_some_and(|call| !call.ok);
        if !self.is_text || self.is_age_noted || !has_failed {
            return Ok(());
        }
        self.is_age_noted = true;
        self.pipeline.write_out()?;
        let host = self.pipeline.engine().header().map(|header| {
            let name = &header.host;
            format!(" on host {}", &name[..name.floor_char_boundary(MAX_HOST)])
        });
        let note = format!(
            "{:12}  note         a recording: commands are of then{}; look again before you run one",
            "",
            host.unwrap_or_default()
        );
        Ok(self.pipeline.outputs_mut().remark(&printable(&note))?)
    }

    /// A header begins the recording, or says where a later part goes on.
    fn header(&mut self, name: &str, line: u64, event: Event) -> Result<()> {
        let Body::Header(header) = &event.body else {
            return Ok(());
        };
        let next_seq = self.pipeline.engine().next_seq();
        match header.part {
            None if next_seq == 0 => {}
            None => bail!(
                "line {line} of {name} begins a recording of its own: replay it by itself \
                 (tail -n +{line})"
            ),
            Some(part) if next_seq == 0 => {
                super::complain(&format!(
                    "{name} is part {part} of a recording: what was before it is not known; \
                     name all parts in order to replay the whole"
                ));
                self.pipeline.begin_at(event.seq);
            }
            Some(part) => {
                if event.seq.saturating_add(1) != next_seq {
                    bail!(
                        "line {line} of {name} begins part {part}, which does not follow on what is \
                         before it: name all parts in order"
                    );
                }
                return Ok(());
            }
        }
        Ok(self.pipeline.feed(event.mono_ns, event.body)?)
    }
}
