//! Statements on the rows of a batch.
//!
//! Each value is bound by itself. In one JSON text, SQLite would search each object for each field. With
//! the fields of a log row, that took a fifth of the writer's time.

use std::sync::OnceLock;

use sqlx::sqlite::SqliteConnection;

use super::arguments::{Arguments, fetch};
use crate::domain::column::Column;
use crate::store::columns::names;
use crate::store::template::fill;

/// A statement on rows. Its template has placeholders:
///
/// - `{rows}` becomes `(values …)`.
/// - `{names}` becomes the names of the columns.
/// - `{named}` becomes the columns of `{rows}` under their names.
///
/// It is prepared for a few numbers of rows. A list with another length takes the next larger one. Values
/// that are not bound are null, and the statement ignores rows of nulls.
pub(in super::super) struct OnRows<Row: 'static> {
    template: &'static str,
    columns: &'static [Column<Row>],
    texts: [OnceLock<String>; LENGTHS.len()],
}

/// The numbers of rows. Longer lists are sent in parts: a statement takes 32 766 values, and a log row
/// has less than 64.
const LENGTHS: [usize; 14] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, LONGEST];
const LONGEST: usize = 512;

impl<Row> OnRows<Row> {
    /// The statement of this template on rows with these columns.
    pub(in super::super) const fn new(template: &'static str, columns: &'static [Column<Row>]) -> Self {
        Self { template, columns, texts: [const { OnceLock::new() }; LENGTHS.len()] }
    }

    /// Its text for this many rows (at most [`LONGEST`]), or for the next larger number.
    pub(in super::super) fn text(&'static self, rows: usize) -> &'static str {
        let place = LENGTHS.partition_point(|length| *length < rows);
        self.texts[place].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(","));
            let rows = format!("(values {})", vec![row; LENGTHS[place]].join(","));
            let named = (1..).zip(self.columns).map(|(at, column)| format!("column{at} as {}", column.name));
            let named = named.collect::<Vec<_>>().join(", ");
            let parts = [("rows", rows.as_str()), ("names", &names(self.columns)), ("named", &named)];
            fill(self.template, &parts)
        })
    }

    /// Runs it on `rows`. Returns how many rows it changed.
    pub(in super::super) async fn change(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[&Row],
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for (text, bound) in self.parts(rows) {
            changed += bound.query(text).execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs it on `rows`. Returns the texts that the statement returns.
    pub(in super::super) async fn fetch(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[&Row],
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut texts = Vec::with_capacity(rows.len());
        for (text, bound) in self.parts(rows) {
            texts.extend(fetch(connection, text, bound).await?);
        }
        Ok(texts)
    }

    fn parts(&'static self, rows: &[&Row]) -> impl Iterator<Item = (&'static str, Arguments)> {
        rows.chunks(LONGEST).map(|part| {
            let mut bound = Arguments::default();
            for row in part {
                for column in self.columns {
                    bound.value(column.kind, (column.value)(row));
                }
            }
            (self.text(part.len()), bound)
        })
    }
}
