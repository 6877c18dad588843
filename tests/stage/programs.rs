//! Where PostgreSQL's programs are, and the user that they run as.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// Where the newest PostgreSQL's programs are: PATH (as `./test` sets it) or Debian's place.
pub fn folder() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_all =
        |folder: &PathBuf| ["initdb", "postgres", "pg_basebackup"].iter().all(|name| folder.join(name).exists());
    let debians = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let version = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max()?;
        Some(PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))).filter(has_all)
    };
    let found = std::env::split_paths(&path).find(has_all).or_else(debians);
    found.expect("PostgreSQL's initdb, postgres and pg_basebackup are in no folder of PATH: run ./test, which finds or installs them")
}

/// A user and group to run a server as, where this is root.
pub fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    Some(found.expect("PostgreSQL refuses to run as root, and there is no user postgres or nobody"))
}

pub fn own(path: &Path) {
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}
