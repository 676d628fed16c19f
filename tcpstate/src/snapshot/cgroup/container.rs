//! From a cgroup's path to the container that it belongs to. Pure: each
//! runtime has its own way to name the cgroups that it makes.

use std::sync::Arc;

/// A container, as its runtime named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, or its name where the runtime puts that into the path.
    pub id: Arc<str>,
    /// Who runs it; absent where the path does not show it.
    pub runtime: Option<&'static str>,
}

/// The innermost container of a cgroup path, and how many components of the path
/// lead to the cgroup that names it.
///
/// Processes that look after a container from outside (`conmon`, the monitor
/// of LXC, the supervisor of systemd-nspawn) are not in it.
#[must_use]
pub(super) fn of_path(path: &str) -> Option<(Container, usize)> {
    let parts: Vec<&str> = components(path).collect();
    (0..parts.len()).rev().find_map(|at| {
        let container = named_by(&parts[..=at], parts.get(at + 1).copied())?;
        Some((container, at + 1))
    })
}

/// The names of a path, from the outermost cgroup on.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Prefixes of a container's own cgroup, before its id.
const PREFIXES: [(&str, &str); 7] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("ecs-", "ecs"),
];

/// Cgroups under which containers stand with nothing but their id.
const PARENTS: [(&str, &str); 6] = [
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    ("cri-containerd", "containerd"),
    ("crio", "cri-o"),
    ("ecs", "ecs"),
    ("kubepods", "kubernetes"),
];

/// The container whose own cgroup the last of these parts is.
fn named_by(parts: &[&str], inside: Option<&str>) -> Option<Container> {
    let (last, parents) = parts.split_last()?;
    by_id(last, parents)
        .or_else(|| lxc(last, parents))
        .or_else(|| nspawn(last, inside))
}

/// 64 hexadecimal digits, alone or behind the runtime's name.
fn by_id(last: &str, parents: &[&str]) -> Option<Container> {
    let name = last.strip_suffix(".scope").unwrap_or(last);
    // `slice:runtime:id`, as the systemd cgroup driver of runc hands it on.
    let (head, id) = match name.rfind([':', '-']) {
        Some(at) => name.split_at(at + 1),
        None => ("", name),
    };
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || head.ends_with("conmon-") {
        return None;
    }
    let head = head.strip_suffix(':').map_or(head, |head| {
        head.rsplit_once(':').map_or(head, |(_, runtime)| runtime)
    });
    let by_prefix = PREFIXES
        .iter()
        .find(|(prefix, _)| head == *prefix || head == prefix.trim_end_matches('-'));
    let by_parent = || {
        parents.iter().rev().find_map(|part| {
            let part = part.strip_suffix(".slice").unwrap_or(part);
            PARENTS
                .iter()
                .find(|(parent, _)| part == *parent || part.starts_with(&format!("{parent}-")))
        })
    };
    Some(Container {
        id: Arc::from(id),
        runtime: by_prefix.or_else(by_parent).map(|(_, runtime)| *runtime),
    })
}

/// `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME`.
fn lxc(last: &str, parents: &[&str]) -> Option<Container> {
    let name = match (last.strip_prefix("lxc.payload."), parents.last()) {
        (Some(name), _) => name,
        (None, Some(&("lxc" | "lxc.payload"))) => last,
        _ => return None,
    };
    Some(Container {
        id: Arc::from(name),
        runtime: Some("lxc"),
    })
}

/// `systemd-nspawn@NAME.service/payload`, `machine-NAME.scope/payload`.
fn nspawn(last: &str, inside: Option<&str>) -> Option<Container> {
    let is_payload = inside.is_none_or(|inside| inside == "payload" || inside == "init.scope");
    let name = match last.strip_prefix("systemd-nspawn@") {
        Some(unit) => unit.strip_suffix(".service")?,
        None => last.strip_prefix("machine-")?.strip_suffix(".scope")?,
    };
    let name = unescape(name);
    // libvirt registers its virtual machines in the same way.
    if !is_payload || name.starts_with("qemu-") {
        return None;
    }
    let runtime = match name.strip_prefix("lxc-") {
        Some(_) => "lxc",
        None => "systemd-nspawn",
    };
    Some(Container {
        id: name.into(),
        runtime: Some(runtime),
    })
}

/// `a\x2db` as systemd escapes names -> `a-b`.
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(u8::is_ascii_graphic);
        if let Some(byte) = byte {
            text.push(char::from(byte));
            text.push_str(&part[2..]);
        } else {
            text.push_str("\\x");
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(path: &str) -> Option<Container> {
        of_path(path).map(|(container, _)| container)
    }

    const ID: &str = "4f1d0c6a2b9e8d7c4f1d0c6a2b9e8d7c4f1d0c6a2b9e8d7c4f1d0c6a2b9e8d7c";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    /// Paths as the runtimes make them, with both cgroup drivers.
    #[test]
    fn a_container_is_found_in_the_paths_of_all_common_runtimes() {
        let pod = "1a2b3c4d_0000_1111_2222_333344445555";
        let cases = [
            (format!("/docker/{ID}"), Some("docker")),
            (format!("/system.slice/docker-{ID}.scope"), Some("docker")),
            (
                format!("/system.slice/docker-{ID}.scope/init"),
                Some("docker"),
            ),
            (format!("/docker/{OTHER}/docker/{ID}"), Some("docker")),
            (format!("/machine.slice/libpod-{ID}.scope"), Some("podman")),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                Some("podman"),
            ),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"
                ),
                Some("podman"),
            ),
            (format!("/libpod_parent/libpod-{ID}"), Some("podman")),
            (
                format!("/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope"),
                Some("podman"),
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{ID}.scope"
                ),
                Some("containerd"),
            ),
            (
                format!(
                    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{pod}.slice/cri-containerd-{ID}.scope"
                ),
                Some("containerd"),
            ),
            (
                format!(
                    "/system.slice/containerd.service/kubepods-burstable-pod{pod}.slice:cri-containerd:{ID}"
                ),
                Some("containerd"),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{pod}.slice/crio-{ID}.scope"),
                Some("cri-o"),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{pod}.slice/crio-{ID}.scope/container"),
                Some("cri-o"),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{pod}.slice/docker-{ID}.scope"),
                Some("docker"),
            ),
            (
                format!("/kubepods/besteffort/pod{pod}/{ID}"),
                Some("kubernetes"),
            ),
            (
                format!("/kubepods/burstable/pod{pod}/crio-{ID}"),
                Some("cri-o"),
            ),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/app.slice/nerdctl-{ID}.scope"
                ),
                Some("containerd"),
            ),
            (
                format!("/ecs/0123456789abcdef0123456789abcdef/{ID}"),
                Some("ecs"),
            ),
            (format!("/default/{ID}"), None),
            (format!("/../../docker-{ID}.scope"), Some("docker")),
        ];

        for (path, runtime) in cases {
            let expected = Container {
                id: ID.into(),
                runtime,
            };
            assert_eq!(container(&path), Some(expected), "{path}");
        }
    }

    #[test]
    fn runtimes_that_put_names_into_the_path_are_known_by_them() {
        let cases = [
            ("/lxc/web", "web", "lxc"),
            ("/lxc/101/ns/system.slice/nginx.service", "101", "lxc"),
            ("/lxc.payload.web", "web", "lxc"),
            ("/lxc.payload.web/system.slice/nginx.service", "web", "lxc"),
            ("/lxc.payload/web/init.scope", "web", "lxc"),
            (
                "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
                "web",
                "systemd-nspawn",
            ),
            (
                "/machine.slice/machine-my\\x2dbox.scope/payload",
                "my-box",
                "systemd-nspawn",
            ),
            (
                "/machine.slice/machine-lxc\\x2d7\\x2dweb.scope",
                "lxc-7-web",
                "lxc",
            ),
        ];

        for (path, id, runtime) in cases {
            let expected = Container {
                id: id.into(),
                runtime: Some(runtime),
            };
            assert_eq!(container(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn the_innermost_container_counts() {
        let path = format!("/lxc.payload.host/system.slice/docker-{ID}.scope");

        let (container, depth) = of_path(&path).unwrap();
        assert_eq!((container.runtime, depth), (Some("docker"), 3));
        let (container, depth) = of_path(&format!("{path}/init")).unwrap();
        assert_eq!((container.runtime, depth), (Some("docker"), 3));
    }

    #[test]
    fn what_stands_beside_a_container_is_not_in_it() {
        let cases = [
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/system.slice/crio-conmon-{ID}.scope"),
            "/lxc.monitor.web".to_owned(),
            "/machine.slice/systemd-nspawn@web.service/supervisor".to_owned(),
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt".to_owned(),
            format!("/machine.slice/machine-libpod_pod_{ID}.slice"),
            "/system.slice/nginx.service".to_owned(),
            "/system.slice/docker.service".to_owned(),
            "/system.slice/lxc.service".to_owned(),
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service".to_owned(),
            "/kubepods.slice".to_owned(),
            format!("/docker/{}", &ID[1..]),
            "/lxc".to_owned(),
            "/".to_owned(),
            String::new(),
            "/machine-\\x.scope\\xzz/machine-\u{e9}\\x\u{e9}.scope/other".to_owned(),
        ];

        for path in cases {
            assert_eq!(container(&path), None, "{path}");
        }
    }
}
