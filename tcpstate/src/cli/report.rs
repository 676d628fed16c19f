//! `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// Markdown, for tickets and chats.
    Md,
    /// One JSON object.
    Json,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// The recording; of one in several files, all of them in order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How it is written; by default as the name of the output says
    /// (`.html`, `.md`, `.json`), else `md` on a terminal and `html` elsewhere.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ReportFormat>,
    /// Write to this file, which is replaced; by default to stdout.
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
}

impl ReportArgs {
    /// The format, given whether stdout is a terminal: nobody reads HTML there.
    #[must_use]
    pub fn format(&self, stdout_is_terminal: bool) -> ReportFormat {
        let extension = self.output.as_ref().and_then(|path| path.extension());
        match (self.format, extension.and_then(std::ffi::OsStr::to_str)) {
            (Some(format), _) => format,
            (None, Some("md" | "markdown")) => ReportFormat::Md,
            (None, Some("json")) => ReportFormat::Json,
            (None, _) if self.output.is_none() && stdout_is_terminal => ReportFormat::Md,
            (None, _) => ReportFormat::Html,
        }
    }
}
