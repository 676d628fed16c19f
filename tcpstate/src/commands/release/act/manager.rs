//! Managers of services and containers, run with a list of arguments, never by a shell.

use std::io::Read as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at whether a program has ended.
const POLL_EVERY: Duration = Duration::from_millis(10);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// What systemd says of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands::release) struct UnitState {
    /// 0: it has none.
    pub(in crate::commands::release) main_pid: u32,
    /// Path of its control group.
    pub(in crate::commands::release) control_group: String,
}

/// Asks systemd.
pub(in crate::commands::release) fn unit(name: &str) -> Result<UnitState> {
    let words = ["systemctl", "show", "--property=MainPID,ControlGroup", name];
    let words = words.map(str::to_owned);
    parse_unit(&answer(&words, PATIENCE)?)
}

fn parse_unit(text: &str) -> Result<UnitState> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let (Some(main_pid), Some(control_group)) = (value("MainPID"), value("ControlGroup")) else {
        bail!("systemctl show names no main process and no control group");
    };
    Ok(UnitState {
        main_pid: main_pid.parse().context("systemctl show names no number")?,
        control_group: control_group.to_owned(),
    })
}

/// Asks a runtime for the process that a container began with.
pub(in crate::commands::release) fn first_process_of_container(inspect: &[String]) -> Result<u32> {
    parse_first_process(&answer(inspect, PATIENCE)?)
}

/// `/web 4711`, `PID: 4711`, `Leader: 4711 (systemd)`.
fn parse_first_process(text: &str) -> Result<u32> {
    let mut words = text.split_whitespace();
    let of_leader = words.by_ref().find(|word| *word == "Leader:");
    let pid = match of_leader {
        Some(_) => words.next(),
        None => text.split_whitespace().last(),
    };
    let pid: Option<u32> = pid.and_then(|word| word.parse().ok());
    match pid {
        Some(pid) if pid > 1 => Ok(pid),
        _ => bail!("it names no process"),
    }
}

/// Stops a unit. systemd goes on with it by itself, and is not waited for.
pub(in crate::commands::release) fn stop_unit(stop: &[String]) -> Result<()> {
    let mut words = stop.to_vec();
    words.insert(words.len().min(2), "--no-block".to_owned());
    answer(&words, PATIENCE).map(drop)
}

/// Stops a container.
pub(in crate::commands::release) fn stop_container(
    stop: &[String],
    timeout: Duration,
) -> Result<()> {
    answer(stop, timeout.saturating_add(PATIENCE)).map(drop)
}

/// What a program prints that succeeds.
fn answer(words: &[String], patience: Duration) -> Result<String> {
    let program = words.first().context("there is no program to run")?;
    let output = run(words, patience).with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it says nothing").trim();
        bail!("`{}` failed: {said}", words.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(words: &[String], patience: Duration) -> Result<Output> {
    let (program, arguments) = words.split_first().context("there is no program to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Read elsewhere: a full pipe would keep it from ending.
    let stdout = child.stdout.take().map(read_in_thread);
    let stderr = child.stderr.take().map(read_in_thread);
    let deadline_ns = clock::monotonic_ns()
        .saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if clock::monotonic_ns() >= deadline_ns {
            child.kill()?;
            child.wait()?;
            bail!("it has not ended within {} s", patience.as_secs());
        }
        std::thread::sleep(POLL_EVERY);
    };
    let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    Ok(Output {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn read_in_thread(stream: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Whatever was read until then is the answer.
        stream.take(MAX_ANSWER).read_to_end(&mut bytes).ok();
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_a_unit_is_read() {
        let state = parse_unit("MainPID=4711\nControlGroup=/system.slice/web.service\n").unwrap();

        assert_eq!(
            (state.main_pid, &*state.control_group),
            (4711, "/system.slice/web.service")
        );
        assert!(parse_unit("MainPID=4711\n").is_err());
        assert!(parse_unit("MainPID=x\nControlGroup=\n").is_err());
    }

    #[test]
    fn the_first_process_is_read_as_each_runtime_tells_it() {
        for (text, pid) in [
            ("/web 4711\n", Some(4711)),
            ("PID: 4711\n", Some(4711)),
            (
                "web(5)\n  Since: Mon; 3h ago\n  Leader: 4711 (systemd)\n  OS: x 12\n",
                Some(4711),
            ),
            ("/web 0\n", None),
            ("/web 1\n", None),
            ("", None),
        ] {
            assert_eq!(parse_first_process(text).ok(), pid, "{text}");
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for() {
        let words = ["sleep".to_owned(), "60".to_owned()];

        assert!(answer(&words, Duration::from_millis(50)).is_err());
        assert!(answer(&["false".to_owned()], PATIENCE).is_err());
        assert!(answer(&["no-such-program".to_owned()], PATIENCE).is_err());
    }
}
