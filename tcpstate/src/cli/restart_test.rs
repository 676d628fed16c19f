//! `restart-test`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use regex_lite::Regex;

use super::parse::parse_port;
use crate::event::Way;

/// Arguments of `restart-test`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = RESTART_TEST_NOTES)]
pub struct RestartTestArgs {
    /// The port that the server listens on.
    #[arg(long, value_name = "PORT", value_parser = parse_port)]
    pub port: u16,
    /// Restart it so often in each way.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub times: u32,
    /// The ways: `idle`, `server_closes_first`, `client_closes_first`, `half_closed`,
    /// `unread_data`, `sigkill`, `child_left`; by default all of them.
    #[arg(long, value_name = "WAY", value_parser = parse_way, value_delimiter = ',')]
    pub ways: Vec<Way>,
    /// Connections that clients hold.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: u16,
    /// How one sees that it serves: `listen`, `stdout=REGEX` (it prints such a line), or
    /// `http=/path` (it answers with a status of 200 to 399).
    #[arg(long, value_name = "HOW", default_value = "listen", value_parser = parse_ready)]
    pub ready: Ready,
    /// How long a start may take (`500ms`, `30s`, `2m`).
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How long it has to end after SIGTERM, before SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// On the host, and not in network namespaces of its own: where none can be made, or the
    /// server needs what is only there.
    #[arg(long)]
    pub host: bool,
    /// Show the dashboard of `watch` meanwhile, with the restarts; it ends with the test, unless
    /// it is paused or something is open on it.
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    pub tui: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Print Markdown, for a pull request.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// The server and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

/// How one sees that a server serves.
#[derive(Clone, Debug)]
pub enum Ready {
    /// It listens on the port.
    Listen,
    /// It listens, and has printed such a line on its standard output.
    Stdout(Regex),
    /// It answers a request for this path.
    Http(String),
}

const RESTART_TEST_NOTES: &str = "\
Each restart has a network namespace of its own with the loopback interface and the host's \
settings of ports, made as root or, as any other user, through a user namespace. The server runs \
in the foreground; its standard output and error are shown with -v. SIGINT ends it and all that \
it started.";

fn parse_way(text: &str) -> Result<Way, String> {
    let name = text.trim().to_ascii_lowercase().replace('-', "_");
    Way::from_name(&name).ok_or_else(|| {
        let names: Vec<&str> = Way::ALL.iter().map(|way| way.name()).collect();
        format!("`{text}` is not a way; the ways are {}", names.join(", "))
    })
}

fn parse_ready(text: &str) -> Result<Ready, String> {
    match text.split_once('=') {
        None if text == "listen" => Ok(Ready::Listen),
        Some(("stdout", pattern)) => Regex::new(pattern)
            .map(Ready::Stdout)
            .map_err(|why| format!("the pattern cannot be used: {why}")),
        Some(("http", path))
            if path.starts_with('/') && path.bytes().all(|it| it.is_ascii_graphic()) =>
        {
            Ok(Ready::Http(path.to_owned()))
        }
        Some(("http", path)) => Err(format!("`{path}` is not a path; write http=/health")),
        _ => Err(format!(
            "`{text}` is none; write listen, stdout=REGEX or http=/path"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_and_signs_of_readiness_are_read() {
        assert_eq!(parse_way("half-closed"), Ok(Way::HalfClosed));
        assert!(parse_way("gently").is_err());
        assert!(matches!(parse_ready("listen"), Ok(Ready::Listen)));
        assert!(
            matches!(parse_ready("stdout=a=[0-9]"), Ok(Ready::Stdout(it)) if it.as_str() == "a=[0-9]")
        );
        assert!(parse_ready("stdout=(?i)serving").is_ok());
        assert!(matches!(parse_ready("http=/up"), Ok(Ready::Http(path)) if path == "/up"));
        for wrong in [
            "",
            "stdout=(",
            "http=up",
            "http=/a b",
            "http=/\r\nX: y",
            "tcp",
        ] {
            assert!(parse_ready(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
