//! A database of either kind, and one test for each of them.

use std::sync::Arc;

use scanfence::store::Store;
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::sqlite::{SqliteStore, folder};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::stage::postgres::Database;

/// A database of either kind. Any number of stores can open it.
pub enum Ground {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Ground {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        folder::migrate(folder.path()).await.unwrap();
        Self::Sqlite(folder)
    }

    pub async fn postgres() -> Self {
        let database = Database::fresh().await;
        postgres::migrate(database.url()).await.unwrap();
        Self::Postgres(database)
    }

    /// Another store on it, as another replica would open.
    pub async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(folder.path()).await.unwrap()),
            Self::Postgres(database) => Arc::new(PostgresStore::open(database.url()).await.unwrap()),
        }
    }

    /// Runs a statement that the service does not know of.
    pub async fn execute(&self, statement: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite://{}", folder.path().join("scanfence.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                statement.execute(&mut connection).await.unwrap();
            }
            Self::Postgres(database) => {
                statement.execute(&mut database.connect().await).await.unwrap();
            }
        }
    }
}

/// Runs one test on both stores.
macro_rules! on_both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($ground:ident: Ground) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn check($ground: Ground) $body

            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                check(Ground::sqlite().await).await;
            }

            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                check(Ground::postgres().await).await;
            }
        }
    )*};
}
