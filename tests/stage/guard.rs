//! What a test started goes when the test goes, however it goes.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

/// A process beside the test that waits for the test to let go of it, by an end of any
/// kind, `kill -9` among them; then it ends a server and removes its folder.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Watches over a process and everything that it started.
    pub fn over_process(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().to_string();
        Self::start(r#"kill -KILL "$1"; kill -CONT "$1""#, &[pid.as_ref()])
    }

    /// Watches over the PostgreSQL server of this folder, and over the folder.
    pub fn over_postgres(folder: &Path) -> Self {
        // On QUIT the postmaster ends its children and frees its shared memory, but only a
        // running one does.
        let end = r#"
            read -r pid < "$1/data/postmaster.pid" && {
                kill -CONT "$pid" $(ps -o pid= --ppid "$pid")
                kill -QUIT "$pid"
                for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" || break; sleep 0.5; done
            }
            rm -rf "$1""#;
        Self::start(end, &[folder.as_os_str()])
    }

    /// Watches over a mounted file system, and the folder that it is mounted on.
    pub fn over_mount(folder: &Path) -> Self {
        // Servers on it end by guards of their own.
        let end = r#"sleep 6; umount -l "$1" || sudo -n umount -l "$1"; rmdir "$1""#;
        Self::start(end, &[folder.as_os_str()])
    }

    fn start(end: &str, arguments: &[&std::ffi::OsStr]) -> Self {
        let guard = Command::new("sh")
            .args(["-c", &format!("cat > /dev/null; {end}"), "guard"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: what ends the test's group must not end the guard.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Self(guard)
    }
}

impl Drop for Guard {
    /// Dismisses it: the one whom it helps has cleaned up by itself.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The name of a child process.
pub fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Sends a signal; one that has ended already needs none.
pub fn signal(pid: Pid, signal: Signal) {
    let _ = rustix::process::kill_process(pid, signal);
}

/// The processes that this one started and that still run.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("Linux has /proc");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

/// Whether it runs, or is stopped; one that has ended and only waits to be noted does not.
pub fn runs(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn parent_of(pid: Pid) -> Option<Pid> {
    stat(pid)?.1
}

/// State and parent. The name between them is in brackets and may hold anything.
fn stat(pid: Pid) -> Option<(char, Option<Pid>)> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)))
}
