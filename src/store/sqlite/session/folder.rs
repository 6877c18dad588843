//! The data folder: makes, migrates, checks and locks it. While one `serve` holds the lock, a second one
//! can't start.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{errors, options};
use crate::store::migrations;

/// The name of the database file in the data folder.
pub const DATABASE: &str = "scanfence.db";
/// The name of the lock file in the data folder.
const LOCK: &str = "serve.lock";

/// While another migration runs, this one makes so many attempts, with this pause between them.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// SQLite's code: the file is not a database.
const NOTADB: i32 = 26;
/// SQLite's code: the pages of the database contradict each other.
const CORRUPT: i32 = 11;

/// Why the data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder can't be made, or is a file.
    #[error("the data folder {} can't be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another `serve` uses the folder.
    #[error("the data folder {} is in use by another scanfence serve{}", folder.display(), by(*pid))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The number of the other process, if the lock file has it.
        pid: Option<u32>,
    },
    /// There is no database yet.
    #[error("there is no database {} yet: run scanfence migrate", file.display())]
    Missing {
        /// The missing file.
        file: PathBuf,
    },
    /// The database is of an older release: migrations are missing.
    #[error("the database {} is of an older release: run scanfence migrate", file.display())]
    Older {
        /// The file.
        file: PathBuf,
    },
    /// The database has a migration that this release does not know.
    #[error("the database {} is of a newer release: it has migration {version}, unknown here", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// The unknown migration.
        version: i64,
    },
    /// It is a database, but not one of Scanfence.
    #[error("{} is a database, but not one of Scanfence", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// It is not a database, or it is damaged.
    #[error("{} is not a database, or is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The database can't be opened or migrated.
    #[error("the database {} can't be opened", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The lock on a data folder. It is released when dropped. If the process dies, the kernel releases it.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `folder`, and makes it if it is missing. Only `serve` takes the lock. Commands that work
    /// while a service runs do not.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process holds it.
    pub fn take(folder: &Path) -> Result<Self, OpenError> {
        make(folder)?;
        let no = |source| OpenError::Folder { folder: folder.to_owned(), source };
        // Not truncated: if another process holds the lock, the file has the number of that process.
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(folder.join(LOCK)).map_err(no)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let pid = read.ok().and_then(|_| pid.trim().parse().ok());
                return Err(OpenError::InUse { folder: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(no(source)),
        }
        file.set_len(0).map_err(no)?;
        file.rewind().map_err(no)?;
        writeln!(file, "{}", std::process::id()).map_err(no)?;
        Ok(Self { _file: file })
    }
}

/// Makes the folder and the database if they are missing. Runs all missing migrations in one transaction.
/// If the process dies, no table is changed. If two processes do this at once, the second has nothing to
/// do.
///
/// # Errors
/// If the folder can't be used, the file is not a database of Scanfence, or it is of a newer release.
pub async fn migrate(folder: &Path) -> Result<(), OpenError> {
    make(folder)?;
    let file = folder.join(DATABASE);
    let options = options(&file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    for _ in 1..ATTEMPTS {
        match migrate_once(&options).await {
            // SQLite does not wait by itself while a new file is switched to WAL.
            Err(MigrateError::Execute(error)) if errors::is_busy(&error) => tokio::time::sleep(PAUSE).await,
            done => return done.map_err(|error| explain(file, error)),
        }
    }
    migrate_once(&options).await.map_err(|error| explain(file, error))
}

async fn migrate_once(options: &SqliteConnectOptions) -> Result<(), MigrateError> {
    let mut connection = options.connect().await?;
    let mut transaction = connection.begin_with("begin immediate").await?;
    if !is_ours(&mut transaction).await? {
        return Err(MigrateError::Source(NotOurs.into()));
    }
    // Not `run`: the compiler can't tell that its future is `Send`.
    migrations::SQLITE.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Whether the database is empty or has migrations. Else it belongs to another program.
async fn is_ours(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("is_ours.sql")).fetch_one(connection).await
}

/// The database has tables, but no migrations. It becomes [`OpenError::Foreign`].
#[derive(Debug, thiserror::Error)]
#[error("not a Scanfence database")]
struct NotOurs;

/// Checks that the folder has a database of this release. Changes nothing.
pub(in super::super) async fn check(folder: &Path) -> Result<(), OpenError> {
    let file = folder.join(DATABASE);
    if !file.try_exists().map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })? {
        return Err(OpenError::Missing { file });
    }
    let applied = async {
        let mut connection = options(&file).connect().await?;
        if !is_ours(&mut connection).await? {
            return Err(MigrateError::Source(NotOurs.into()));
        }
        let applied: Vec<i64> = match is_migrated(&mut connection).await? {
            true => sqlx::query_scalar(include_str!("applied.sql")).fetch_all(&mut connection).await?,
            false => Vec::new(),
        };
        connection.close().await?;
        Ok(applied)
    };
    let applied = applied.await.map_err(|error| explain(file.clone(), error))?;
    match applied.iter().find(|version| !migrations::SQLITE.version_exists(**version)) {
        Some(version) => Err(OpenError::Newer { file, version: *version }),
        None if all_applied(&applied) => Ok(()),
        None => Err(OpenError::Older { file }),
    }
}

async fn is_migrated(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("is_migrated.sql")).fetch_one(connection).await
}

/// Whether all migrations of this release are in `applied`.
pub(in super::super) fn all_applied(applied: &[i64]) -> bool {
    migrations::SQLITE.iter().all(|migration| applied.contains(&migration.version))
}

fn make(folder: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })
}

fn explain(file: PathBuf, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) => OpenError::Newer { file, version },
        MigrateError::VersionMismatch(_) => OpenError::Foreign { file },
        MigrateError::Source(source) if source.is::<NotOurs>() => OpenError::Foreign { file },
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)
            if matches!(errors::primary_code(&source), Some(NOTADB | CORRUPT)) =>
        {
            OpenError::Damaged { file, source }
        }
        other => OpenError::Database { file, source: other.into() },
    }
}
