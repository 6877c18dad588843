//! The store on PostgreSQL 15 and later.
//!
//! Each feature has a folder with its statements (`.sql`) and the code that runs them. [`session`]
//! opens connections, limits every wait, and turns the server's errors into [`StoreError`].

mod alarms;
mod audit;
mod consistency;
mod counting;
mod planning;
mod refusals;
mod session;
mod updates;

use async_trait::async_trait;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{PgConnection, Postgres};

pub use counting::writes;
pub use session::{StartError, migrate};

use self::session::{LEND_LIMIT, Plans, bounded, judge, statement_over};
use super::connections::Connections;
use super::repeats::Repeats;
use super::{Readiness, Store, StoreError, rows};

/// One for a guarded write, one to load the next batch at the same time, one for the row-locked lane.
const COUNTING_CONNECTIONS: usize = 3;
/// For reads and for planning's changes. More of them would only queue inside the database.
const OTHER_CONNECTIONS: usize = 8;
/// One to read for a check, one to note or repair at the same time.
const MONITOR_CONNECTIONS: usize = 2;

/// The store on PostgreSQL.
pub struct PostgresStore {
    counting: Connections<PgConnection>,
    others: Connections<PgConnection>,
    monitor: Connections<PgConnection>,
    repeats: Repeats,
}

impl PostgresStore {
    /// Connects, and refuses a server that can't keep the promises.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(url: &str) -> Result<Self, StartError> {
        let options = session::options(url)?;
        let store = Self {
            counting: session::connections(&options, COUNTING_CONNECTIONS, Plans::Generic),
            others: session::connections(&options, OTHER_CONNECTIONS, Plans::Custom),
            monitor: session::connections(&options, MONITOR_CONNECTIONS, Plans::Generic),
            repeats: Repeats::default(),
        };
        session::verify(&options).await?;
        Ok(store)
    }

    /// Runs one reading statement, which gives a JSON text per row, and reads its rows.
    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        query: QueryAs<'static, Postgres, (String,), PgArguments>,
    ) -> Result<Vec<T>, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let found = bounded(async { query.fetch_all(lent.get()).await.map_err(judge) }).await;
        let found = statement_over(lent, found)?;
        found.iter().map(|(row,)| rows::read(row)).collect()
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn ready(&self) -> Result<Readiness, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let readiness = bounded(session::readiness(lent.get())).await;
        statement_over(lent, readiness)
    }

    async fn close(&self) {
        self.counting.close().await;
        self.others.close().await;
        self.monitor.close().await;
    }
}
