//! `tcpstate config`: where the dashboard's configuration is, and a template.
//! Also finds and reads it for the commands that show the dashboard.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::cli::{ConfigArgs, Format, OutputArgs};
use crate::tui::config::Config;

/// Names the file instead of the usual place.
const VARIABLE: &str = "TCPSTATE_CONFIG";
/// Longest file that is read; the template has 6 kB.
const MAX_SIZE: u64 = 256 << 10;

/// Prints the template, or checks the file and says where it is.
pub(super) fn run(args: &ConfigArgs) -> Result<()> {
    if args.template {
        return super::print(Config::template().as_bytes(), b"");
    }
    let place = place(args.config.as_deref());
    let Some((path, is_asked_for)) = place else {
        bail!("there is no home directory to look in; name a file with --config");
    };
    let says = match read(&path, is_asked_for)? {
        Some(_) => "is right",
        None => "is not there: everything is as `tcpstate config --template` says",
    };
    let line = format!(
        "{} {says}",
        crate::printable::printable(&path.display().to_string())
    );
    super::print(line.as_bytes(), b"\n")
}

/// What the dashboard is to be like; where none is shown, nothing is read.
pub(super) fn of(output: &OutputArgs) -> Result<Config> {
    if output.format(io::stdout().is_terminal()) != Format::Tui {
        return Ok(Config::default());
    }
    let screen = &output.screen;
    let mut config = match place(screen.config.as_deref()) {
        Some((path, is_asked_for)) => read(&path, is_asked_for)?.unwrap_or_default(),
        None => Config::default(),
    };
    if let Some(theme) = screen.theme {
        config.theme = theme.theme();
    }
    config.mouse |= screen.mouse;
    Ok(config)
}

/// The file, and whether somebody asked for just this one.
fn place(named: Option<&Path>) -> Option<(PathBuf, bool)> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = named {
        return Some((path.to_owned(), true));
    }
    if let Some(path) = variable(VARIABLE) {
        return Some((path.into(), true));
    }
    let folder = usual_folder(caller_home(), variable("XDG_CONFIG_HOME"), variable("HOME"))?;
    Some((folder.join("tcpstate/config.toml"), false))
}

/// The XDG Base Directory specification: what is not absolute is ignored. Under
/// sudo both variables are root's, and the file is that of who ran it.
fn usual_folder(
    caller_home: Option<PathBuf>,
    xdg: Option<OsString>,
    home: Option<OsString>,
) -> Option<PathBuf> {
    if let Some(home) = caller_home {
        return Some(home.join(".config"));
    }
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    xdg.or_else(|| home.map(|home| PathBuf::from(home).join(".config")))
}

/// Home of who ran sudo; `None`: nobody did.
fn caller_home() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    if uid == 0 {
        return None;
    }
    home_of(uid)
}

/// The host's own file of users.
const USERS: &str = "/etc/passwd";
/// Longest list of users that is read.
const MAX_USERS: u64 = 4 << 20;
/// Asks wherever else the host keeps users (LDAP, systemd). The C library's own call would load
/// the host's modules into this program, which they fit only by chance where it is static.
const GETENT: &str = "/usr/bin/getent";

/// The home of a user.
fn home_of(uid: u32) -> Option<PathBuf> {
    let mut users = Vec::new();
    let file = File::open(USERS).map(|file| file.take(MAX_USERS));
    let _ = file.and_then(|mut file| file.read_to_end(&mut users));
    home_in(&users, uid).or_else(|| {
        let asked = Command::new(GETENT)
            .args(["passwd", &uid.to_string()])
            .stdin(Stdio::null())
            .output();
        home_in(&asked.ok()?.stdout, uid)
    })
}

/// The home of a user in lines as `passwd(5)` has them.
fn home_in(users: &[u8], uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    users.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        if fields.next()? != uid.as_bytes() {
            return None;
        }
        let home = fields.nth(2).filter(|home| !home.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(home)))
    })
}

/// `None`: it is not there, and nobody asked for it.
fn read(path: &Path, is_asked_for: bool) -> Result<Option<Config>> {
    let name = path.display();
    let mut how = File::options();
    how.read(true);
    if !is_asked_for {
        // Whatever it is, nobody chose it now: it is not waited for.
        how.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = match how.open(path) {
        Err(error) if !is_asked_for && is_absent(&error) => return Ok(None),
        file => file.with_context(|| format!("cannot open the configuration {name}"))?,
    };
    let mut text = String::new();
    file.take(MAX_SIZE + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the configuration {name}"))?;
    if text.len() as u64 > MAX_SIZE {
        bail!("the configuration {name} is longer than 256 KiB");
    }
    Config::parse(&text)
        .map(Some)
        .with_context(|| format!("the configuration {name} is wrong"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_of_the_standard_or_of_who_ran_sudo() {
        let some = |text: &str| Some(OsString::from(text));

        for (caller, xdg, home, folder) in [
            (None, some("/x"), some("/home/a"), Some("/x")),
            (None, some("x"), some("/home/a"), Some("/home/a/.config")),
            (None, None, some("/home/a"), Some("/home/a/.config")),
            (
                Some("/home/b"),
                some("/x"),
                some("/root"),
                Some("/home/b/.config"),
            ),
            (None, None, None, None),
        ] {
            let found = usual_folder(caller.map(PathBuf::from), xdg, home);
            assert_eq!(found.as_deref(), folder.map(Path::new));
        }
    }

    #[test]
    fn a_home_is_that_of_the_user_whose_number_it_is() {
        let users = b"root:x:0:0:root:/root:/bin/sh\n# a line of nobody's\n\
                      ann:x:1000:100:Ann,,,:/home/ann:/bin/sh\nbob:x:100:1000::/home/bob:\n\
                      none:x:7:7:::/bin/sh\nshort:x:8";

        let home = |uid| home_in(users, uid);
        assert_eq!(home(1000), Some("/home/ann".into()));
        assert_eq!(home(100), Some("/home/bob".into()));
        for nobody in [7, 8, 10] {
            assert_eq!(home(nobody), None);
        }
        assert_eq!(home_of(0), Some("/root".into()));
    }

    #[test]
    fn a_file_that_nobody_asked_for_may_be_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.toml");

        assert_eq!(read(&path, false).expect("it may be missing"), None);
        assert!(read(&path, true).is_err());

        std::fs::write(&path, "mouse = true\nwrong").expect("it can be written");
        let error = format!("{:#}", read(&path, false).expect_err("it is wrong"));
        assert!(error.contains("config.toml is wrong: line 2: "), "{error}");

        std::fs::write(&path, "#".repeat(300 << 10)).expect("it can be written");
        assert!(read(&path, false).is_err());
    }
}
