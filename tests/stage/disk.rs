//! A disk that a test can fill: a small file system in memory, mounted for it alone.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::guard::Guard;

/// A small disk; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    _guard: Guard,
}

impl Disk {
    /// An empty one of so many MiB. Mounting takes root, or sudo that asks for no password.
    pub fn small(mib: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("scanfence-disk.").tempdir().expect("a temporary folder");
        let size = format!("size={mib}m,mode=0755");
        let mounted = as_root("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let mounted = mounted.expect("mount and sudo are on the PATH");
        assert!(
            mounted.status.success(),
            "no disk to fill, since a small tmpfs can't be mounted: run this as root, or with sudo that asks for \
             no password: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        let disk = Self { _guard: Guard::over_mount(folder.path()), folder };
        disk.belongs_to_us();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("the disk is ours");
        for size in [1 << 20, 4096] {
            let zeros = vec![0; size];
            while filler.write_all(&zeros).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }

    fn belongs_to_us(&self) {
        let us = format!("{}", rustix::process::geteuid().as_raw());
        let given = as_root("chown").arg(us).arg(self.path()).status().expect("chown is on the PATH");
        assert!(given.success(), "the disk can't be given to this user");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is on its way out may still have a file open.
        let _ = as_root("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A command as root.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
