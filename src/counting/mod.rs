//! Counting: from a typed request to an answer that is on disk.
//!
//! Requests wait in the [`queue`], per work order. The committer takes all that waits, of all work
//! orders, and settles it in one commit. While one commit is on its way, the next batch gathers. There
//! is no timer, so there is no added delay.
//!
//! There are two kinds of [`lanes`]. The leased lane compares stamps and never waits for a row. The
//! row-locked lane locks the rows first: for work orders without a lease, and after another writer was
//! faster.
//!
//! Where a retry gets its old answer:
//!
//! 1. From memory, if the leased lane still knows the update (`memory.rs`; `Known::recall` in
//!    `lanes/draft.rs`).
//! 2. Else from the update log: `load.sql` reads it before the batch is decided, or the guarded write
//!    finds it (`known.sql`).
//! 3. `decide` compares the request with that update: `Verdict::Replayed` or `Verdict::KeyReused`.
//! 4. `http/routes/counted.rs` turns it into the first answer again, or into a 422
//!    `idempotency-key-reused`.

mod answer;
mod batch;
mod committer;
mod intake;
mod lanes;
mod memory;
mod queue;
mod settings;

pub use answer::{Answer, Unsettled};
pub use committer::{Committer, Panicked};
pub use intake::{QueueIntake, ScanIntake};
pub use settings::Settings;
