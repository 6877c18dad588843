//! The guarded write: which statement a batch takes, its values, and its result.
//!
//! One statement is one transaction and one round trip. The server prepares every part of a statement at
//! each run, even an empty part. That takes a third of the time of a single scan. So there are several
//! statements, made of the same parts in `write/`. The usual two do not look whether request ids and
//! barcodes are there already: the primary keys refuse them.
//!
//! Arrays are unnested in the select list. In `from`, each array is first copied to a store of its own,
//! which takes a tenth of the statement's time.

use std::sync::{Arc, LazyLock};

use sqlx::PgConnection;

use super::super::session::fetch;
use super::lists::{self, Query};
use crate::domain::column::Row as _;
use crate::domain::decide::ClaimKey;
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::store::columns::{columns, names};
use crate::store::counting::{CLAIM, ClaimRow, GUARDED};
use crate::store::template::fill;
use crate::store::{Batch, StoreError, Written, rows};

columns! {
    /// Request ids that no load has looked up.
    UNVERIFIED: (RequestId, WorkOrderNumber) = |row| {
        request_id: Text = Some(row.0.as_str()),
        work_order: Text = Some(row.1.as_str()),
    }
}

columns! {
    /// Barcodes that no load has looked up.
    UNCLAIMED: ClaimKey = |key| {
        work_order: Text = Some(key.work_order.as_str()),
        counter: Text = Some(key.counter.word()),
        step: Text = Some(key.step.as_str()),
        barcode: Text = Some(key.barcode.as_str()),
    }
}

/// A list of rows that a statement takes.
#[derive(Clone, Copy)]
enum List {
    WorkOrders,
    Updates,
    NewClaims,
    DeletedClaims,
    TakenOverClaims,
    Unverified,
    Unclaimed,
}

impl List {
    /// Its placeholder in the parts of a statement.
    fn placeholder(self) -> &'static str {
        match self {
            Self::WorkOrders => "work_orders",
            Self::Updates => "updates",
            Self::NewClaims => "new_claims",
            Self::DeletedClaims => "deleted_claims",
            Self::TakenOverClaims => "taken_over_claims",
            Self::Unverified => "unverified",
            Self::Unclaimed => "unclaimed",
        }
    }

    /// How many arrays it takes, and the text that unnests them from `$first` on.
    fn unnested(self, first: usize) -> (usize, String) {
        match self {
            Self::WorkOrders => (GUARDED.len(), lists::unnested(GUARDED, first)),
            Self::Updates => (Update::COLUMNS.len(), lists::unnested(Update::COLUMNS, first)),
            Self::NewClaims | Self::DeletedClaims | Self::TakenOverClaims => {
                (CLAIM.len(), lists::unnested(CLAIM, first))
            }
            Self::Unverified => (UNVERIFIED.len(), lists::unnested(UNVERIFIED, first)),
            Self::Unclaimed => (UNCLAIMED.len(), lists::unnested(UNCLAIMED, first)),
        }
    }

    fn bind<'q>(self, query: Query<'q>, batch: &'q Batch) -> Query<'q> {
        let claims = batch.changes.iter().map(|change| &change.claims);
        match self {
            Self::WorkOrders => lists::bind(query, GUARDED, batch.changes.iter()),
            Self::Updates => lists::bind(query, Update::COLUMNS, batch.updates().iter().copied()),
            Self::NewClaims => lists::bind(query, CLAIM, claims.flat_map(|claims| &claims.insert)),
            Self::DeletedClaims => lists::bind(query, CLAIM, claims.flat_map(|claims| &claims.delete)),
            Self::TakenOverClaims => lists::bind(query, CLAIM, claims.flat_map(|claims| &claims.take_over)),
            Self::Unverified => lists::bind(query, UNVERIFIED, batch.unverified.iter()),
            Self::Unclaimed => lists::bind(query, UNCLAIMED, batch.unclaimed.iter()),
        }
    }
}

/// One statement: its text, and the lists that it takes in the order of their parameters.
struct Statement {
    text: String,
    lists: &'static [List],
}

impl Statement {
    /// Puts the parts together and numbers the parameters.
    fn new(parts: &[&str], answers: &[&str], lists: &'static [List]) -> Self {
        let template = format!("with {}{}", parts.join(", "), answers.concat());
        let (log, claim) = (names(Update::COLUMNS), names(CLAIM));
        let mut first = 1;
        let mut unnested = Vec::new();
        for list in lists {
            let placeholder = format!("{{{}}}", list.placeholder());
            assert!(template.contains(&placeholder), "no part takes the list {placeholder}");
            let (arrays, text) = list.unnested(first);
            first += arrays;
            unnested.push((list.placeholder(), text));
        }
        // The first array of the first list: the numbers of the work orders.
        let work_orders = lists::array(GUARDED[0].kind, 1);
        let mut known = vec![("log", log.as_str()), ("claim", claim.as_str()), ("work_orders_array", &work_orders)];
        known.extend(unnested.iter().map(|(name, text)| (*name, text.as_str())));
        Self { text: fill(&template, &known), lists }
    }
}

macro_rules! statement {
    ([$($part:literal),+], [$($answer:literal),+], [$($list:ident),+]) => {
        LazyLock::new(|| Statement::new(
            &[$(include_str!(concat!("write/", $part, ".sql")).trim_end()),+],
            &[$(include_str!(concat!("write/", $answer, ".sql"))),+],
            &[$(List::$list),+],
        ))
    };
}

/// For a batch without barcodes.
static PLAIN: LazyLock<Statement> = statement!(
    ["work_order_rows", "all_work_orders", "update_work_orders", "log_rows", "log_rows_passed", "insert_log"],
    ["answer"],
    [WorkOrders, Updates]
);
static PLAIN_LOOKING: LazyLock<Statement> = statement!(
    [
        "known",
        "held_back",
        "work_order_rows",
        "free_work_orders",
        "update_work_orders",
        "log_rows",
        "log_rows_passed",
        "insert_log"
    ],
    ["answer", "answer_known"],
    [WorkOrders, Updates, Unverified]
);
/// With barcodes to claim.
static CLAIMING: LazyLock<Statement> = statement!(
    [
        "work_order_rows",
        "all_work_orders",
        "update_work_orders",
        "log_rows",
        "log_rows_passed",
        "insert_log",
        "insert_claims"
    ],
    ["answer"],
    [WorkOrders, Updates, NewClaims]
);
static CLAIMING_LOOKING: LazyLock<Statement> = statement!(
    [
        "known",
        "claimed",
        "held_back_claimed",
        "work_order_rows",
        "free_work_orders",
        "update_work_orders",
        "log_rows",
        "log_rows_passed",
        "insert_log",
        "insert_claims"
    ],
    ["answer", "answer_known", "answer_claimed"],
    [WorkOrders, Updates, NewClaims, Unverified, Unclaimed]
);
/// With claims that no longer stand, too. It always looks.
static UNBINDING: LazyLock<Statement> = statement!(
    [
        "known",
        "claimed",
        "held_back_claimed",
        "work_order_rows",
        "free_work_orders",
        "update_work_orders",
        "log_rows",
        "log_rows_passed",
        "insert_log",
        "insert_claims",
        "change_claims"
    ],
    ["answer", "answer_known", "answer_claimed", "answer_change_claims"],
    [WorkOrders, Updates, NewClaims, DeletedClaims, TakenOverClaims, Unverified, Unclaimed]
);

/// The texts of the guarded write: without barcodes, with barcodes, with unbinds. The first two exist
/// without and with a look for request ids and barcodes.
#[must_use]
pub fn writes() -> [&'static str; 5] {
    [&PLAIN, &PLAIN_LOOKING, &CLAIMING, &CLAIMING_LOOKING, &UNBINDING].map(|statement| statement.text.as_str())
}

/// Writes a batch. `looks` says whether it looks for request ids and barcodes that no load has
/// looked up; if not, the primary keys refuse those that are there already.
pub(super) async fn write(connection: &mut PgConnection, batch: &Batch, looks: bool) -> Result<Written, StoreError> {
    let mut written = Written::default();
    if batch.changes.is_empty() {
        return Ok(written);
    }
    let claims = || batch.changes.iter().map(|change| &change.claims);
    let unbinds = claims().any(|claims| !(claims.delete.is_empty() && claims.take_over.is_empty()));
    let barcodes = !batch.unclaimed.is_empty() || claims().any(|claims| !claims.insert.is_empty());
    let statement: &'static Statement = match (barcodes, looks) {
        _ if unbinds => &UNBINDING,
        (false, false) => &PLAIN,
        (false, true) => &PLAIN_LOOKING,
        (true, false) => &CLAIMING,
        (true, true) => &CLAIMING_LOOKING,
    };
    let query = sqlx::query_as(statement.text.as_str());
    let query = statement.lists.iter().fold(query, |query, list| list.bind(query, batch));
    for (kind, row) in fetch(connection, query).await? {
        match kind.as_str() {
            "all_passed" => written.passed = batch.changes.iter().map(|c| c.row.work_order.clone()).collect(),
            "passed" => written.passed = rows::read(&row)?,
            "claimed" => written.claimed.push(rows::read::<ClaimRow>(&row)?.into()),
            "known" => written.known.push(Arc::new(rows::read(&row)?)),
            // `as_loaded`
            _ => {}
        }
    }
    Ok(written)
}
