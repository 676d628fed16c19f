//! A second network namespace beside the one that a test is in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use tcpstate::demo::namespace;

type Task = Box<dyn FnOnce() + Send>;

/// A namespace that one thread of this test is in; it ends with the thread.
pub(crate) struct Elsewhere {
    pub(crate) inode: u32,
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let (tasks, todo) = mpsc::channel::<Task>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(namespace::enter_private().expect("we are root"))
                .expect("somebody asked");
            while let Ok(task) = todo.recv() {
                task();
            }
        });
        Self {
            inode: told.recv().expect("the thread tells"),
            tasks: Some(tasks),
            thread: Some(thread),
        }
    }

    /// Does something inside.
    pub(crate) fn inside<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (give, given) = mpsc::channel();
        self.tasks
            .as_ref()
            .expect("not ended")
            .send(Box::new(move || {
                let _ = give.send(act());
            }))
            .expect("the thread runs");
        given.recv().expect("it comes to an end")
    }

    /// Makes it outlive the thread, as a bind mount at `path`.
    pub(crate) fn mount_at(&self, path: &Path) -> Mounted {
        std::fs::write(path, "").expect("there is room");
        let target = path.to_owned();
        let status = self.inside(move || {
            let link = format!("/proc/{}/ns/net", rustix::thread::gettid().as_raw_nonzero());
            Command::new("mount")
                .arg("--bind")
                .arg(link)
                .arg(target)
                .status()
        });
        assert!(status.expect("mount is part of util-linux").success());
        Mounted(path.to_owned())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
