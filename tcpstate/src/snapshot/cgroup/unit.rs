//! The systemd service that a process runs in, and what else runs there: what one
//! stops with it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::container::components;
use super::{mounted_at, owner};
use crate::event::{Unit, UnitMember};
use crate::snapshot::proc::{self, Stat};

/// Processes of a service that are looked at.
const MAX_PROCESSES: usize = 512;
/// Cgroups of a service that are looked at.
const MAX_CGROUPS: usize = 64;
/// Others that are listed.
const MAX_LISTED: usize = 16;
/// `UNIT_NAME_MAX` of systemd, less the NUL.
const MAX_NAME: usize = 255;

/// Services that were asked about in one reading of the host: each is read once.
#[derive(Debug, Default)]
pub struct Units {
    /// By the path of their cgroup; `None`: not root's.
    known: BTreeMap<String, Option<Members>>,
}

/// The processes of a service.
#[derive(Debug, Default)]
struct Members {
    processes: BTreeMap<u32, Stat>,
    /// Those, or cgroups with any, that were not looked at.
    unseen: u32,
}

impl Units {
    /// The service of a process, by the path of its cgroup. `None`: it is in none, or in
    /// one that somebody else than root may have made.
    pub fn of(&mut self, pid: u32, path: &str) -> Option<Arc<Unit>> {
        let (name, members) = self.read(path)?;
        let (others, more) = members.others(pid);
        Some(Arc::new(Unit {
            name: name.to_owned(),
            others,
            more,
        }))
    }

    /// All processes of the service that a cgroup path belongs to, as far as they were
    /// looked at.
    pub fn members(&mut self, path: &str) -> Vec<UnitMember> {
        let Some((_, members)) = self.read(path) else {
            return Vec::new();
        };
        let member = |(pid, stat): (&u32, &Stat)| UnitMember {
            pid: *pid,
            comm: Arc::clone(&stat.comm),
        };
        members.processes.iter().map(member).collect()
    }

    fn read<'a>(&mut self, path: &'a str) -> Option<(&'a str, &Members)> {
        let (name, names) = service(path)?;
        let key = names.join("/");
        let members = self
            .known
            .entry(key)
            .or_insert_with_key(|key| members_of(key, &names))
            .as_ref()?;
        Some((name, members))
    }
}

/// The outermost unit below the slices, if it is a service, and the names of the
/// cgroups that lead to it.
fn service(path: &str) -> Option<(&str, Vec<&str>)> {
    let mut names: Vec<&str> = components(path).collect();
    if !path.starts_with('/') || names.contains(&"..") {
        return None;
    }
    let depth = names
        .iter()
        .position(|name| name.strip_suffix(".slice").is_none())?;
    names.truncate(depth + 1);
    // systemd puts this before names that would mean something to the kernel.
    let last = *names.last()?;
    let name = last.strip_prefix('_').unwrap_or(last);
    // The manager of a user's own services stands for none of them.
    (is_service(name) && !name.starts_with("user@")).then_some((name, names))
}

/// `unit_name_is_valid` of systemd, for a service; besides, no name that a command
/// would take for an option.
fn is_service(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
    name.strip_suffix(".service")
        .is_some_and(|stem| !stem.is_empty())
        && name.len() <= MAX_NAME
        && !name.starts_with(['-', '@'])
        && name.bytes().all(is_allowed)
}

/// `None`: root did not make it.
fn members_of(path: &str, names: &[&str]) -> Option<Members> {
    let top = Path::new(mounted_at()?);
    if owner::of(top, names.iter().copied()) != Some(0) {
        return None;
    }
    // The kernel lists processes by the numbers that they have for us.
    if !proc::has_our_numbers() {
        return Some(Members {
            unseen: 1,
            ..Members::default()
        });
    }
    Some(Members::read(&top.join(path)))
}

impl Members {
    fn read(directory: &Path) -> Self {
        let (pids, unseen) = pids_below(directory);
        let stat = |pid| Some((pid, proc::stat(pid)?));
        Self {
            processes: pids.into_iter().filter_map(stat).collect(),
            unseen,
        }
    }

    /// Those that neither are the process nor descend from it, and how many more there
    /// are.
    fn others(&self, pid: u32) -> (Vec<UnitMember>, u32) {
        let mut others: Vec<UnitMember> = self
            .processes
            .iter()
            .filter(|(other, _)| !self.descends(**other, pid))
            .map(|(other, stat)| UnitMember {
                pid: *other,
                comm: Arc::clone(&stat.comm),
            })
            .collect();
        let left_out = others.len().saturating_sub(MAX_LISTED);
        others.truncate(MAX_LISTED);
        let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
        (others, self.unseen.saturating_add(left_out))
    }

    /// Whether a process is `ancestor` or descends from it.
    fn descends(&self, mut pid: u32, ancestor: u32) -> bool {
        // Parents that were read at different times may lead round in a circle.
        for _ in 0..=self.processes.len() {
            if pid == ancestor {
                return true;
            }
            let Some(stat) = self.processes.get(&pid) else {
                return false;
            };
            pid = stat.ppid;
        }
        false
    }
}

/// The processes of a cgroup and of those below it, and how many were left out.
fn pids_below(directory: &Path) -> (Vec<u32>, u32) {
    let mut pids = Vec::new();
    let mut unseen = 0_u32;
    let mut looked_at = 0;
    let mut left: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        if looked_at == MAX_CGROUPS {
            unseen = unseen.saturating_add(1);
            continue;
        }
        looked_at += 1;
        match fs::read_to_string(directory.join("cgroup.procs")) {
            Ok(text) => {
                for line in text.lines() {
                    // 0: it is in a pid namespace that is none of ours.
                    let pid = line.parse().ok().filter(|pid| *pid != 0);
                    match pid {
                        Some(pid) if pids.len() < MAX_PROCESSES => pids.push(pid),
                        _ => unseen = unseen.saturating_add(1),
                    }
                }
            }
            Err(error) if has_none_of_its_own(&error) => {}
            Err(_) => unseen = unseen.saturating_add(1),
        }
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        left.extend(
            below
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                // Enough to know that some were left out.
                .take(2 * MAX_CGROUPS),
        );
    }
    (pids, unseen)
}

/// It has gone, or is one for threads, whose processes the one above lists.
fn has_none_of_its_own(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_unit_below_the_slices_counts_if_it_is_a_service() {
        let cases = [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/nginx.service/x/y", Some("nginx.service")),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                Some("getty@tty1.service"),
            ),
            ("/nginx.service", Some("nginx.service")),
            ("/system.slice/a.service/b.service", Some("a.service")),
            (
                "/system.slice/dev-disk\\x2d1.service",
                Some("dev-disk\\x2d1.service"),
            ),
            // As systemd writes `cpu.service`, which the kernel has a file for.
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/system.slice/__x.service", Some("_x.service")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
                None,
            ),
            ("/user.slice/user-0.slice/user@0.service/web.service", None),
            ("/user.slice/user-1000.slice/session-3.scope", None),
            ("/system.slice/docker-1.scope/nginx.service", None),
            ("/init.scope", None),
            ("/system.slice", None),
            ("/", None),
            ("", None),
            ("system.slice/nginx.service", None),
            ("/../../system.slice/nginx.service", None),
            ("/system.slice/nginx.service/../x", None),
            ("/system.slice/-x.service", None),
            ("/system.slice/_-x.service", None),
            ("/system.slice/@x.service", None),
            ("/system.slice/.service", None),
            ("/system.slice/a b.service", None),
            ("/system.slice/a;b.service", None),
            ("/system.slice/a$(b).service", None),
            ("/system.slice/\u{e9}.service", None),
            ("/system.slice/a.service (deleted)", None),
        ];

        for (path, name) in cases {
            assert_eq!(service(path).map(|(name, _)| name), name, "{path}");
        }
        let long = format!("/{}.service", "a".repeat(MAX_NAME - ".service".len()));
        assert!(service(&long).is_some());
        assert!(service(&long.replacen('a', "aa", 1)).is_none());
    }

    #[test]
    fn others_are_those_that_do_not_descend_from_the_process() {
        // 10 is the master of 11 and 12, whose child is 13; 20 came from outside.
        let members = members(&[(10, 1), (11, 10), (12, 10), (13, 12), (20, 1)]);

        assert_eq!(others(&members, 10), [20]);
        assert_eq!(others(&members, 12), [10, 11, 20]);
        assert_eq!(
            others(&members, 99),
            [10, 11, 12, 13, 20],
            "not one of them"
        );
    }

    #[test]
    fn parents_that_lead_round_in_a_circle_come_to_an_end() {
        let members = members(&[(10, 11), (11, 10), (12, 12)]);

        assert_eq!(others(&members, 12), [10, 11]);
        assert_eq!(others(&members, 10), [12]);
    }

    #[test]
    fn beyond_sixteen_others_are_counted_with_those_that_nobody_looked_at() {
        let mut many = members(&(100..120).map(|pid| (pid, 1)).collect::<Vec<_>>());
        many.unseen = 3;

        let (listed, more) = many.others(100);

        assert_eq!((listed.len(), more), (MAX_LISTED, 3 + 3));
        assert_eq!(listed[0].pid, 101);
    }

    #[test]
    fn of_many_processes_and_cgroups_a_part_is_looked_at_and_the_rest_counted() {
        let top = tempfile::tempdir().unwrap();
        let list = |directory: &Path, pids: std::ops::Range<u32>| {
            fs::create_dir_all(directory).unwrap();
            let lines: Vec<String> = pids.map(|pid| pid.to_string()).collect();
            fs::write(directory.join("cgroup.procs"), lines.join("\n")).unwrap();
        };
        list(top.path(), 1..511);
        list(&top.path().join("below"), 1000..1005);

        let (pids, unseen) = pids_below(top.path());
        assert_eq!((pids.len(), unseen), (MAX_PROCESSES, 3));

        list(top.path(), 0..1);
        for number in 0..100 {
            list(&top.path().join(number.to_string()), 0..0);
        }
        let (pids, unseen) = pids_below(top.path());
        // One in a foreign pid namespace, and 38 of 102 cgroups.
        assert!(pids.len() <= 5);
        assert_eq!(unseen, 1 + 102 - 64);
        assert_eq!(pids_below(Path::new("/nowhere")), (Vec::new(), 0));
    }

    fn others(members: &Members, pid: u32) -> Vec<u32> {
        let (others, _) = members.others(pid);
        others.iter().map(|other| other.pid).collect()
    }

    fn members(processes: &[(u32, u32)]) -> Members {
        let stat = |ppid: u32| {
            let line = format!("1 (x) S {ppid} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n");
            Stat::parse(line.as_bytes()).unwrap()
        };
        Members {
            processes: processes
                .iter()
                .map(|(pid, ppid)| (*pid, stat(*ppid)))
                .collect(),
            unseen: 0,
        }
    }
}
