//! A wall clock that a test can step, for one process: the time of day alone. What counts
//! durations goes on as before, as when a machine's clock is set.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The clock of the processes that are started with its [`Clock::environment`].
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// One that is right.
    pub fn right() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(clock.file(), 0_i64.to_ne_bytes()).expect("the folder is ours");
        clock
    }

    /// From now on so many seconds ahead of the right time, or behind it.
    pub fn step(&self, seconds: i64) {
        // In place, and without making it shorter meanwhile: the processes have it mapped.
        let file = File::options().write(true).open(self.file()).expect("the folder is ours");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the folder is ours");
    }

    /// What a process has to be started with to go by this clock.
    pub fn environment(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().expect("temporary folders have plain names").to_owned();
        [("LD_PRELOAD".to_owned(), text(library())), ("STAGE_CLOCK".to_owned(), text(&self.file()))]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("step")
    }
}

/// The library that moves the clock, compiled once for each test program.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("stage-clock.so");
        // Under another name first: other test programs may be running with it.
        let fresh = tempfile::Builder::new().tempfile_in(folder).expect("cargo makes this folder for tests");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .arg(fresh.path())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stage/clock.c"))
            .output()
            .expect("the C compiler that builds SQLite is there");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fresh.persist(&library).expect("within one folder a file can be renamed");
        library
    })
}
