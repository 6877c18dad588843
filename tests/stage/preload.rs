//! A library that is preloaded into a process. It causes faults that would otherwise need root, and reads
//! from a mapped file which ones.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A number in a file, which processes have mapped.
#[derive(Debug)]
pub struct Number(PathBuf);

impl Number {
    /// 0, in this file, before any process has mapped it.
    pub fn zero(file: PathBuf) -> Self {
        std::fs::write(&file, 0_i64.to_ne_bytes()).expect("the folder is ours");
        Self(file)
    }

    /// Another number from now on.
    pub fn set(&self, number: i64) {
        // In place, since a process that has mapped it must never find it shorter.
        let file = File::options().write(true).open(&self.0).expect("the file is ours");
        file.write_all_at(&number.to_ne_bytes(), 0).expect("the folder is ours");
    }

    /// What a process has to be started with that goes by it, under this variable.
    pub fn environment(&self, variable: &str, library: &Path) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().expect("temporary folders have plain names").to_owned();
        [("LD_PRELOAD".to_owned(), text(library)), (variable.to_owned(), text(&self.0))]
    }
}

/// The library, copied into a temporary folder: the loader takes no path with a space or a colon
/// in it, which the one of the checkout may have.
pub fn library_in(folder: &Path) -> PathBuf {
    let copy = folder.join("preload.so");
    std::fs::copy(library(), &copy).expect("the folder is ours");
    copy
}

/// The library, compiled once for each test program.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("stage-preload.so");
        // Under another name first: other test programs may be running with it.
        let fresh = tempfile::Builder::new().tempfile_in(folder).expect("cargo makes this folder for tests");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .arg(fresh.path())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stage/preload.c"))
            .output()
            .expect("the C compiler that builds SQLite is there");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fresh.persist(&library).expect("within one folder a file can be renamed");
        std::fs::set_permissions(&library, PermissionsExt::from_mode(0o755)).expect("it is ours");
        library
    })
}
