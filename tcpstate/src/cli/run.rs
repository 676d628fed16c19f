//! `run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::parse::parse_port;

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = RUN_NOTES)]
pub struct RunArgs {
    /// Set SO_REUSEADDR on each TCP socket before its bind to a port other than 0.
    #[arg(long = "reuseaddr")]
    pub is_reuseaddr: bool,
    /// The same with SO_REUSEPORT.
    #[arg(long = "reuseport")]
    pub is_reuseport: bool,
    /// Hold a bind back until the kernel allows it, but not longer than this (`--wait=30s`);
    /// by default without a limit.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = humantime::parse_duration)]
    pub wait: Option<Option<Duration>>,
    /// Keep the socket that listens on this port open when the program ends, and give it to
    /// the program again at its next start; may be repeated. Needs Linux 5.9.
    #[arg(long, value_name = "PORT", value_parser = parse_port, value_delimiter = ',')]
    pub keep: Vec<u16>,
    /// Close a kept socket when no process of the program has had it open for this long.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub keep_for: Duration,
    /// Start the program again when it ends by itself; at once at first, then later and
    /// later. (SIGHUP to `run` stops it and starts it again in any case.)
    #[arg(long)]
    pub respawn: bool,
    /// How long the program has to end after SIGTERM when it is restarted, before SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Write the events, as JSON lines, to this file; compressed if its name ends in `.zst`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

const RUN_NOTES: &str = "\
Signals: SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH that are sent to `run` are \
handed on; what a key at the terminal sends, the program gets from the terminal. SIGHUP \
restarts the program.

Privileges: none are needed. Without CAP_SYS_ADMIN the kernel wants no_new_privs to be set: \
set-user-id programs (sudo, ping) that the program starts gain nothing then. What is bound is \
bound with the privileges of the program; a process below it that has other ones (another user, \
namespace, security label, a Landlock domain) binds for itself: where that has not taken effect, it \
is explained by what the kernel's hooks have told, as root, else by the kernel's rule (`inferred`). A \
container needs CAP_SYS_PTRACE for any of it.

If `run` is killed (SIGKILL), the program goes on serving, but the kernel answers ENOSYS to each \
later bind and listen of it.";
