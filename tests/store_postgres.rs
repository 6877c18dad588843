//! The store on PostgreSQL: the suite.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stage;
mod store_suite;

use std::sync::Arc;

use scanfence::store::Store;
use scanfence::store::postgres::{self, PostgresStore};
use stage::postgres::Database;

async fn open() -> (Arc<dyn Store>, Database) {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store = PostgresStore::open(database.url()).await.unwrap();
    (Arc::new(store), database)
}

store_suite::store_suite!(open);
