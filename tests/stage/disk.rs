//! A disk that a test can fill: a small file system in memory, mounted for it alone, or, where
//! nobody may mount, a folder in which files stop growing.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::guard::Guard;
use super::preload::{self, Number};

/// A small disk; gone when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mounted {
        _guard: Guard,
    },
    /// Full for the processes that are started with its environment.
    Pretended {
        full: Number,
        library: PathBuf,
    },
}

impl Disk {
    /// An empty one of so many MiB. To mount takes root, or sudo that asks for no password, and a
    /// container that may; otherwise the disk is a pretended one, and this says so.
    pub fn small(mib: u64) -> Self {
        let folder = folder();
        let size = format!("size={mib}m,mode=0755");
        let mounted = as_root("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("a tmpfs can't be mounted here: the disk is full by a preloaded library");
            return Self::pretended();
        }
        let disk = Self { kind: Kind::Mounted { _guard: Guard::over_mount(folder.path()) }, folder };
        let us = rustix::process::geteuid().as_raw().to_string();
        let given = as_root("chown").arg(us).arg(disk.path()).status().expect("chown is on the PATH");
        assert!(given.success(), "the disk can't be given to this user");
        disk
    }

    /// One that is full only for the processes that are started with its environment.
    pub fn pretended() -> Self {
        let folder = folder();
        // Beside the data, since a server's user may not get into the folder where it was built.
        let library = preload::library_in(folder.path());
        Self { kind: Kind::Pretended { full: Number::zero(folder.path().join("full")), library }, folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a process has to be started with to find this disk full.
    pub fn environment(&self) -> Vec<(String, String)> {
        match &self.kind {
            Kind::Mounted { .. } => Vec::new(),
            Kind::Pretended { full, library } => full.environment("STAGE_DISK", library).to_vec(),
        }
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        match &self.kind {
            Kind::Mounted { .. } => {
                let filler = File::options().create(true).append(true).open(self.filler());
                let mut filler = filler.expect("the disk is ours");
                for size in [1 << 20, 4096] {
                    let zeros = vec![0; size];
                    while filler.write_all(&zeros).is_ok() {}
                }
            }
            Kind::Pretended { full, .. } => full.set(1),
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        match &self.kind {
            Kind::Mounted { .. } => std::fs::remove_file(self.filler()).expect("it was filled"),
            Kind::Pretended { full, .. } => full.set(0),
        }
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Mounted { .. } => {
                // Lazily: a process that is on its way out may still have a file open.
                let _ = as_root("umount").arg("--lazy").arg(self.path()).status();
            }
            Kind::Pretended { .. } => {}
        }
    }
}

/// A folder that a server's user gets through.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("scanfence-disk.").tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("the folder is ours");
    folder
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
