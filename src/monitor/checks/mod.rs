//! A check: reads work orders, judges log, row and barcode claims, and notes the findings.
//!
//! In reading order: [`run`] reads page by page; [`long`] reads a work order that is too long for
//! one page; [`reader`] notes progress and rests. What they read is judged by pure code:
//! [`page`] puts it together from [`ledger`] (log and row), [`counted_parts`] (barcodes of the log
//! against claims) and [`claim_segments`] (the same for a long work order, with one number for
//! thousands of claims). [`accepted`] is what a person has accepted as it is.

pub mod accepted;
mod claim_segments;
pub(super) mod counted_parts;
pub mod ledger;
mod long;
mod page;
pub(super) mod part;
mod reader;
mod run;

pub use self::reader::{CHECK_LEASE, Interrupted};
pub use self::run::{end_state, run};
