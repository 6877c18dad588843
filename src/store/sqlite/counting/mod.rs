//! Counting on SQLite: the look-ups of a batch, and its write.

pub(super) mod load;
pub(super) mod write;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::session::{Failure, LEND_LIMIT, errors, limited};
use crate::domain::decide::Facts;
use crate::store::{Batch, CountingStore, StoreError, Wanted, Written};

#[async_trait]
impl CountingStore for SqliteStore {
    /// On the writer's connection, whose page cache is warm. The lanes are the only callers, and they
    /// load and write in turn.
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        limited(async {
            let mut lent = self.writer.lend(LEND_LIMIT).await?;
            match load::load(lent.get(), wanted).await {
                Ok(facts) => {
                    lent.give_back();
                    Ok(facts)
                }
                Err(Failure::Ours(error)) => {
                    lent.give_back();
                    Err(error)
                }
                Err(Failure::Sql(error)) => {
                    if errors::connection_is_good(&error) {
                        lent.give_back();
                    }
                    Err(errors::before_commit(error))
                }
            }
        })
        .await
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        batch.check_releases_nothing()?;
        let attempt = |looks| {
            limited(async move {
                let (statement, bound) = write::begin(batch, looks);
                let (mut lent, found) = self.begin_with(LEND_LIMIT, statement, bound).await?;
                let written = write::write(lent.get(), batch, found).await;
                let written = self.finish(lent, written).await;
                self.note_written(&written);
                written
            })
        };
        self.repeats.write(batch, attempt).await
    }

    /// There is only one writer between `begin immediate` and COMMIT: that is the row lock.
    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let written = match load::load(lent.get(), wanted).await {
                Ok(facts) => {
                    // Everything was looked up just now, under the lock.
                    write_decided(lent.get(), &decide(facts)).await
                }
                Err(failure) => Err(failure),
            };
            let written = self.finish(lent, written).await;
            self.note_written(&written);
            written
        })
        .await
    }

    fn epoch(&self) -> u64 {
        self.writer.opened()
    }
}

/// Writes what was decided under the lock.
async fn write_decided(connection: &mut SqliteConnection, batch: &Batch) -> Result<Written, Failure> {
    write::release(connection, batch).await?;
    let written = write::write(connection, batch, None).await?;
    batch.check_released(&written)?;
    Ok(written)
}
