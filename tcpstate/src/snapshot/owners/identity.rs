//! What distinguishes a process from others of its name, from `/proc`: nothing of it comes out of the
//! process's own memory, but for the command lines of what is above a holder.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, OnceLock};

use super::{argv, uid};
use crate::diagnosis;
use crate::event::{Ancestor, Identity, Process};
use crate::snapshot::proc::{self, Stat};

/// Ancestors that are read.
const MAX_ANCESTORS: usize = 8;
/// Bytes of a path.
const MAX_PATH: usize = 256;
/// `USER_HZ` of `/proc/PID/stat`.
const TICKS_PER_S: u64 = 100;
/// Process 1 is above everybody.
const INIT: u32 = 1;

/// Of a process whose `stat` was read just now.
pub(super) fn of(pid: u32, uid: u32, stat: &Stat) -> Identity {
    Identity {
        age_s: age_s(stat),
        user: users().get(&uid).cloned(),
        terminal: terminal(stat.terminal).map(Arc::from),
        cwd: cwd(pid),
        ancestors: with_supervisors(uid, ancestors(stat.ppid, stat.start_ticks)),
        is_orphan: is_orphan(pid, stat),
    }
}

/// Of the process that made a call, as far as it shows its relation to others. It may have
/// ended: its parent is known from the call.
pub(crate) fn of_caller(process: &Process) -> Option<Identity> {
    let same = proc::stat(process.pid).filter(|stat| {
        process
            .start_ticks
            .is_none_or(|start| start == stat.start_ticks)
    });
    // Without its start nothing distinguishes the parent from who has that one's number now.
    let start = process
        .start_ticks
        .or(same.as_ref().map(|stat| stat.start_ticks))?;
    let identity = Identity {
        cwd: same.and_then(|_| cwd(process.pid)),
        ancestors: ancestors(process.ppid?, start),
        ..Identity::default()
    };
    Some(identity).filter(|known| *known != Identity::default())
}

/// What is above a process of ours.
pub(crate) fn above(pid: u32) -> Vec<Ancestor> {
    proc::stat(pid).map_or_else(Vec::new, |stat| ancestors(stat.ppid, stat.start_ticks))
}

/// `/proc/uptime` counts like the time of start, with the time that the machine slept.
fn age_s(stat: &Stat) -> Option<u64> {
    let uptime = fs::read_to_string(proc::root().join("uptime")).ok()?;
    let seconds: u64 = uptime.split('.').next()?.parse().ok()?;
    seconds.checked_sub(stat.start_ticks / TICKS_PER_S)
}

fn cwd(pid: u32) -> Option<Arc<str>> {
    let path = fs::read_link(proc::of(pid).join("cwd")).ok()?;
    let path = path.to_string_lossy();
    (path.len() <= MAX_PATH).then(|| path.into())
}

/// `start_ticks`: of the process that `pid` is the parent of. Whoever started later has that
/// one's number only.
fn ancestors(mut pid: u32, mut start_ticks: u64) -> Vec<Ancestor> {
    let mut ancestors = Vec::new();
    while pid > INIT && ancestors.len() < MAX_ANCESTORS {
        let Some(stat) = proc::stat(pid).filter(|stat| stat.start_ticks <= start_ticks) else {
            break;
        };
        ancestors.push(Ancestor {
            pid,
            comm: stat.comm,
            supervisor: None,
        });
        (pid, start_ticks) = (stat.ppid, stat.start_ticks);
    }
    ancestors
}

/// The same with what each is by its command line, where it is of user `below` or of root: who
/// runs a process names it as he likes.
fn with_supervisors(below: u32, ancestors: Vec<Ancestor>) -> Vec<Ancestor> {
    let supervisor = |pid: u32| {
        uid(pid).filter(|uid| *uid == below || *uid == 0)?;
        diagnosis::supervisor(&argv(pid)?)
    };
    let mut nearest = None;
    ancestors
        .into_iter()
        .map(|ancestor| {
            // Those above the nearest one are not asked for.
            if nearest.is_none() {
                nearest = supervisor(ancestor.pid);
                return Ancestor {
                    supervisor: nearest,
                    ..ancestor
                };
            }
            ancestor
        })
        .collect()
}

/// Whether what started a process has ended, and was in its job or its session: its parent is
/// in another session now, and the one that the job or the session was begun with is not there.
///
/// `daemon(3)` leaves a job and a session that are one, without their first process.
fn is_orphan(pid: u32, stat: &Stat) -> bool {
    let is_gone = |leader: u32| {
        leader > INIT && leader != pid && proc::stat(leader).is_none_or(|stat| stat.state == 'Z')
    };
    let is_adopted = stat.session != pid
        && proc::stat(stat.ppid).is_none_or(|parent| parent.session != stat.session);
    is_adopted && stat.group != stat.session && (is_gone(stat.group) || is_gone(stat.session))
}

/// The device number of `stat`'s `tty_nr` as it is called below `/dev`: minor number in bits
/// 0 to 7 and 20 to 31, major number in bits 8 to 15.
fn terminal(number: u32) -> Option<String> {
    let (major, minor) = (
        (number >> 8) & 0xff,
        (number & 0xff) | ((number >> 12) & 0xfff00),
    );
    match major {
        4 if minor < 64 => Some(format!("tty{minor}")),
        4 => Some(format!("ttyS{}", minor - 64)),
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        _ => None,
    }
}

/// Names of `/etc/passwd`, read once: what a directory service has besides is left out, so
/// that nobody's network is asked.
fn users() -> &'static BTreeMap<u32, Arc<str>> {
    static USERS: OnceLock<BTreeMap<u32, Arc<str>>> = OnceLock::new();
    USERS.get_or_init(|| parse_users(&fs::read_to_string("/etc/passwd").unwrap_or_default()))
}

fn parse_users(text: &str) -> BTreeMap<u32, Arc<str>> {
    let mut users = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            users.entry(uid).or_insert_with(|| name.into());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_is_read() {
        let pid = std::process::id();
        let stat = proc::stat(pid).unwrap();

        let own = of(pid, 0, &stat);

        assert!(own.age_s.is_some_and(|age| age < 3_600), "{own:?}");
        assert_eq!(
            own.cwd.as_deref(),
            std::env::current_dir().unwrap().to_str()
        );
        assert_eq!(own.user.as_deref(), Some("root"));
        assert_eq!(
            own.ancestors.first().map(|first| first.pid),
            Some(stat.ppid)
        );
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(0x8803).as_deref(), Some("pts/3"));
        assert_eq!(terminal(0x8900).as_deref(), Some("pts/256"));
        assert_eq!(terminal(0x0401).as_deref(), Some("tty1"));
        assert_eq!(terminal(0x0440).as_deref(), Some("ttyS0"));
    }

    #[test]
    fn of_two_names_of_one_user_the_first_counts() {
        let users = parse_users("root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbad\napp:x:1000\n");

        assert_eq!(users[&0].as_ref(), "root");
        assert_eq!(users[&1000].as_ref(), "app");
        assert_eq!(users.len(), 2);
    }
}
