//! Runs one check, page by page.
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | 1 begin | `count_work_orders`, `begin_check` | the check is `running`; the next holder of the check lease continues it |
//! | 2 read a page | `next_work_orders`, `page` in one snapshot; a long work order: see [`long`](super::long) | nothing was written; the page is read again |
//! | 3 note | `note_progress`, one transaction, renews the lease | findings and `read_up_to` are written both or not at all |
//! | 4 end | `end_check`, by the caller | all is read; the next holder reads nothing more and ends it |
//!
//! Steps 2 and 3 repeat. A page is noted after a second, or at once if it has findings.
//!
//! Small work orders are read many at once, each page in one short snapshot. So log and row are
//! always of one moment (pitfall 36), and no snapshot lasts long.

use tokio_util::sync::CancellationToken;

use super::accepted::Acceptances;
use super::long::judge_long;
use super::page::judge_page;
use super::reader::{Interrupted, ROWS, Reader};
use crate::domain::consistency::{Check, CheckState, Range};
use crate::monitor::retry::retried;
use crate::store::consistency::{ConsistencyStore, Scope};

/// Work orders looked up at once.
const NEXT: i64 = 1_000;

/// Runs a check from where it was left to its end, and shows its progress to `watch`.
///
/// # Errors
/// See [`Interrupted`]. The check is unfinished then.
pub async fn run(
    store: &dyn ConsistencyStore,
    check: &Check,
    holder: &str,
    stop: &CancellationToken,
    watch: &(dyn Fn(&Check) + Sync),
) -> Result<Check, Interrupted> {
    let scope = scope(check);
    let total = retried(|| store.count_work_orders(&scope)).await?;
    let mut reader = Reader::begin(store, check, total, holder, watch).await?;
    let mut after = reader.check.read_up_to.clone().unwrap_or_default();
    loop {
        let next = retried(|| store.next_work_orders(&scope, &after, NEXT)).await?;
        for page in pages(&next.found) {
            if stop.is_cancelled() {
                reader.note().await?;
                return Err(Interrupted::Stopped);
            }
            read(&mut reader, page).await?;
        }
        match next.read_up_to {
            Some(read_up_to) => after = read_up_to,
            None => break,
        }
    }
    reader.note().await?;
    Ok(reader.check)
}

/// The state of a check that has read everything.
#[must_use]
pub fn end_state(check: &Check) -> CheckState {
    if check.findings_seen == 0 { CheckState::Good } else { CheckState::Drift }
}

fn scope(check: &Check) -> Scope {
    match (check.range, &check.work_order, check.since) {
        (Range::WorkOrder, Some(number), _) => Scope::One(number.clone()),
        (Range::Recent | Range::Since, _, Some(since)) => Scope::ChangedSince(since),
        (Range::Full, ..) | (Range::Recent | Range::Since | Range::WorkOrder, ..) => Scope::All,
    }
}

/// Neighbours that are read together: about [`ROWS`] rows of log, by what their rows say.
fn pages(found: &[(String, i64)]) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut length = i64::MAX;
    for (number, rows) in found {
        // A work order without rows costs a look-up, too.
        let rows = rows.max(&10);
        match pages.last_mut() {
            Some(page) if length.saturating_add(*rows) <= ROWS => {
                page.push(number.clone());
                length += rows;
            }
            _ => {
                pages.push(vec![number.clone()]);
                length = *rows;
            }
        }
    }
    pages
}

/// Reads work orders together. If that is too much, reads them in halves, and at last one by one.
async fn read(reader: &mut Reader<'_>, numbers: Vec<String>) -> Result<(), Interrupted> {
    let mut left = vec![numbers];
    while let Some(numbers) = left.pop() {
        let store = reader.store;
        match retried(|| store.page(&numbers, ROWS)).await? {
            Some(page) => {
                let accepted = Acceptances::read(store, &numbers).await?;
                let (rows, drifts) = judge_page(&numbers, page, accepted);
                reader.add(&numbers, rows, drifts).await?;
            }
            None if numbers.len() > 1 => {
                let (first, second) = numbers.split_at(numbers.len() / 2);
                left.push(second.to_vec());
                left.push(first.to_vec());
            }
            None => {
                let drifts = judge_long(reader, &numbers[0]).await?;
                // Its rows are counted already, piece by piece.
                reader.add(&numbers, 0, drifts).await?;
            }
        }
    }
    Ok(())
}
