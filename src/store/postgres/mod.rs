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
use futures_util::future::join_all;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{PgConnection, Postgres};

pub use counting::writes;
pub use session::{StartError, apply, is_migrated, migrate, migrations};

use self::session::{LEND_LIMIT, Use, bounded, judge, statement_over};
use super::connections::{Connections, Server};
use super::repeats::Repeats;
use super::{Readiness, Store, StoreError, rows};

/// One for a guarded write, one to load the next batch at the same time, one for the row-locked lane.
const COUNTING_CONNECTIONS: usize = 3;
/// For reads of single rows, and for planning's changes. They take milliseconds.
const QUICK_CONNECTIONS: usize = 4;
/// For lists and searches. More of them would only queue inside the database. Whatever people look for, all
/// else has connections of its own.
const LIST_CONNECTIONS: usize = 4;
/// One to read for a check, one to note or repair at the same time.
const MONITOR_CONNECTIONS: usize = 2;
/// For the steps of alarms, one after the other.
const ALARM_CONNECTIONS: usize = 1;
/// For the probes of load balancers.
const READINESS_CONNECTIONS: usize = 1;

/// The store on PostgreSQL.
pub struct PostgresStore {
    counting: Connections<PgConnection>,
    quick: Connections<PgConnection>,
    lists: Connections<PgConnection>,
    monitor: Connections<PgConnection>,
    alarms: Connections<PgConnection>,
    readiness: Connections<PgConnection>,
    repeats: Repeats,
}

impl PostgresStore {
    /// Connects, and refuses a server that can't keep the promises.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(url: &str) -> Result<Self, StartError> {
        let options = session::options(url)?;
        let server = Server::default();
        let connections = |size, of| session::connections(&options, &server, size, of);
        let store = Self {
            counting: connections(COUNTING_CONNECTIONS, Use::Counting),
            quick: connections(QUICK_CONNECTIONS, Use::Others),
            lists: connections(LIST_CONNECTIONS, Use::Others),
            monitor: connections(MONITOR_CONNECTIONS, Use::Monitor),
            alarms: connections(ALARM_CONNECTIONS, Use::Others),
            readiness: connections(READINESS_CONNECTIONS, Use::Readiness),
            repeats: Repeats::default(),
        };
        session::verify(&options).await?;
        Ok(store)
    }
}

/// Runs one reading statement, which gives a JSON text per row, and reads its rows.
async fn read<T: serde::de::DeserializeOwned>(
    connections: &Connections<PgConnection>,
    query: QueryAs<'static, Postgres, (String,), PgArguments>,
) -> Result<Vec<T>, StoreError> {
    let mut lent = connections.lend(LEND_LIMIT).await?;
    let found = bounded(lent.suspicion(), async { query.fetch_all(lent.get()).await.map_err(judge) }).await;
    let found = statement_over(lent, found)?;
    found.iter().map(|(row,)| rows::read(row)).collect()
}

#[async_trait]
impl Store for PostgresStore {
    async fn ready(&self) -> Result<Readiness, StoreError> {
        let mut lent = self.readiness.lend(LEND_LIMIT).await?;
        let readiness = bounded(lent.suspicion(), session::readiness(lent.get())).await;
        let readiness = statement_over(lent, readiness)?;
        // Where the server takes no further connections, there may be this one, and none to count with.
        if readiness.writable && !self.counting.has_any() {
            self.counting.lend(LEND_LIMIT).await?.give_back();
        }
        Ok(readiness)
    }

    async fn close(&self) {
        let Self { counting, quick, lists, monitor, alarms, readiness, repeats: _ } = self;
        let sets = [counting, quick, lists, monitor, alarms, readiness];
        join_all(sets.map(Connections::close)).await;
    }
}
