//! A check: reads work orders, judges log, row and barcode claims, and notes the findings.
//!
//! In reading order:
//!
//! - [`run`]: reads page by page.
//! - [`long`]: reads a work order that is too long for one page.
//! - [`reader`]: notes progress and rests.
//!
//! Pure code judges what they read:
//!
//! - [`page`]: puts the judgement of a page together.
//! - [`ledger`]: the log against the row.
//! - [`named`]: what the rows of the log take back and settle.
//! - [`counted_parts`]: the barcodes of the log against the claims.
//! - [`claim_segments`]: the same for a long work order, with one number for thousands of claims.
//! - [`accepted`]: the drifts that a person has accepted.

pub mod accepted;
mod claim_segments;
pub(super) mod counted_parts;
pub mod ledger;
mod long;
mod named;
mod page;
pub(super) mod part;
mod reader;
mod run;

pub use self::reader::{CHECK_LEASE, Interrupted};
pub use self::run::{end_state, run};
