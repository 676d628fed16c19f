//! `tcpstate report`: the postmortem of a recording.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cli::{ReportArgs, ReportFormat};
use crate::event::{Body, Event};
use crate::recording::reader::{ReadError, Reader};
use crate::recording::{input, secure_file};
use crate::report::{Builder, Reading, Report, html, markdown};

/// Bad lines that are named one by one; the rest are counted.
const SHOWN_ERRORS: usize = 10;

/// Reads the recording and writes its report.
pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let format = args.format(io::stdout().is_terminal());
    if let Some(path) = &args.output
        && args.files.iter().any(|file| is_same_file(path, file))
    {
        bail!(
            "{} is the recording itself; choose another file with -o",
            path.display()
        );
    }
    let output = args.output.as_deref().map(Output::open).transpose()?;
    // Of what is in the folder only an output that comes to nothing may go again.
    let folder = output
        .as_ref()
        .filter(|output| output.made)
        .map(Output::folder);
    super::confine_reader(folder.as_slice())?;
    let (report, unreadable_lines) = read(&args.files)?;
    let text = match format {
        ReportFormat::Html => html::render(&report),
        ReportFormat::Md => markdown::render(&report),
        ReportFormat::Json => {
            serde_json::to_string_pretty(&report).context("cannot write the report as JSON")? + "\n"
        }
    };
    match output {
        None => super::print(text.as_bytes(), b"")?,
        Some(output) => output.write(&text)?,
    }
    if unreadable_lines > 0 {
        bail!(
            "{unreadable_lines} of the lines of the recording could not be read; the report is of \
             the others, and says so"
        );
    }
    Ok(())
}

/// The report, and how many lines are missing from it.
fn read(files: &[PathBuf]) -> Result<(Report, u64)> {
    let mut builder = Builder::new();
    let mut reading = Reading::default();
    for file in files {
        part(file, &mut builder, &mut reading)?;
    }
    let unreadable_lines = reading.unreadable_lines;
    let report = builder
        .finish(reading)
        .context("there is nothing in the recording")?;
    Ok((report, unreadable_lines))
}

/// One file: the whole recording, or a part of it.
fn part(file: &Path, builder: &mut Builder, reading: &mut Reading) -> Result<()> {
    let name = file.display().to_string();
    let input = input::open(file).with_context(|| format!("cannot open the recording {name}"))?;
    let mut has_header = false;
    let mut reader = Reader::new(input);
    while let Some(event) = reader.next() {
        match event {
            Ok(event) if matches!(event.body, Body::Header(_)) => {
                has_header = true;
                header(&name, reader.line(), event, builder, reading)?;
            }
            Ok(event) => builder.observe(event.mono_ns, event.body),
            Err(ReadError::Cut { line }) => reading.cut_in_line = Some(line),
            Err(error @ (ReadError::Io { .. } | ReadError::LaterSchema { .. })) if !has_header => {
                return Err(error).with_context(|| format!("cannot read the recording {name}"));
            }
            Err(error) => {
                reading.unreadable_lines += 1;
                if reading.unreadable.len() < SHOWN_ERRORS {
                    super::complain(&format!("{name}: {error}"));
                    reading.unreadable.push(error.to_string());
                }
            }
        }
    }
    if !has_header {
        bail!(
            "{name} has no header line: it is not a recording of tcpstate, or its beginning is missing"
        );
    }
    Ok(())
}

/// A header begins the recording, or says where a later part goes on.
fn header(
    name: &str,
    line: u64,
    event: Event,
    builder: &mut Builder,
    reading: &mut Reading,
) -> Result<()> {
    let Body::Header(header) = &event.body else {
        return Ok(());
    };
    let next_seq = builder.next_seq();
    match header.part {
        None if next_seq == 0 => {}
        None => bail!(
            "line {line} of {name} begins a recording of its own: report it by itself \
             (tail -n +{line})"
        ),
        Some(part) if next_seq == 0 => {
            reading.first_part = Some(part);
            builder.begin_at(event.seq);
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
    builder.observe(event.mono_ns, event.body);
    Ok(())
}

/// The file that the report goes to. Like the recording it is for its owner alone: it
/// names command lines. It is opened before the recording is read, and changed after.
struct Output<'a> {
    path: &'a Path,
    file: secure_file::Opened,
    made: bool,
    is_written: bool,
}

impl<'a> Output<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = secure_file::open(path).with_context(|| Self::failed(path))?;
        Ok(Self {
            path,
            made: file.is_new,
            file,
            is_written: false,
        })
    }

    fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => ".".into(),
        }
    }

    fn write(mut self, text: &str) -> Result<()> {
        self.is_written = true;
        self.file
            .empty()
            .and_then(|file| file.write_all(text.as_bytes()))
            .with_context(|| Self::failed(self.path))
    }

    fn failed(path: &Path) -> String {
        format!(
            "cannot write the report to {}; choose another file with -o",
            path.display()
        )
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if self.made && !self.is_written {
            // There is no report: nor is there a file.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
