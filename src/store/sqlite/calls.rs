//! How a statement is sent: its values, its rows, and lists of rows within it.
//!
//! Small lists travel as one JSON text ([`list`]). The rows of every batch do not: taking a
//! field out of a JSON object costs SQLite a search through its labels, a fifth of the writer's
//! time with a log row's 32 fields. They are bound value by value ([`OnRows`]).

use std::sync::OnceLock;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

/// A list as one JSON text.
pub(super) fn list(items: &impl Serialize) -> String {
    serde_json::to_string(items).expect("rows are plain structs of text, numbers and booleans")
}

/// The values of one statement, in order.
#[derive(Default)]
pub(super) struct Arguments(SqliteArguments);

impl Arguments {
    pub(super) fn text(&mut self, value: &str) {
        self.maybe(Some(value));
    }

    pub(super) fn maybe(&mut self, value: Option<&str>) {
        sqlx::Arguments::add(&mut self.0, value).expect("text is always encoded");
    }

    pub(super) fn number(&mut self, value: i64) {
        self.maybe_number(Some(value));
    }

    pub(super) fn maybe_number(&mut self, value: Option<i64>) {
        sqlx::Arguments::add(&mut self.0, value).expect("a number is always encoded");
    }

    pub(super) fn query(self, statement: &'static str) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
        sqlx::query_with(statement, self.0)
    }

    pub(super) fn query_as<Row>(
        self,
        statement: &'static str,
    ) -> sqlx::query::QueryAs<'static, sqlx::Sqlite, Row, SqliteArguments>
    where
        Row: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>,
    {
        sqlx::query_as_with(statement, self.0)
    }
}

/// Runs a statement without values or rows.
pub(super) async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    Arguments::default().query(statement).execute(connection).await.map(drop)
}

/// Runs a statement that gives one JSON text a row.
pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<Vec<String>, sqlx::Error> {
    let rows = bound.query(statement).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Runs a statement on a list as one JSON text, unless it is empty, and says how many rows it changed.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[impl Serialize],
) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut bound = Arguments::default();
    bound.text(&list(&rows));
    Ok(bound.query(statement).execute(connection).await?.rows_affected())
}

/// A statement on rows that stand in it as `(values …)`, each value bound by itself.
///
/// It is prepared for a few numbers of rows. A list between two of them takes the larger one:
/// what is not bound is null, and the statement leaves rows of nulls alone.
pub(super) struct OnRows {
    before: &'static str,
    columns: usize,
    after: &'static str,
    texts: [OnceLock<String>; LENGTHS.len()],
}

/// Longer lists are sent in parts: a statement takes 32 766 values, a log row has 32.
const LENGTHS: [usize; 15] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, LONGEST];
const LONGEST: usize = 1000;

impl OnRows {
    /// The statement `before (values …) after`, on rows of so many columns.
    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { before, columns, after, texts: [const { OnceLock::new() }; LENGTHS.len()] }
    }

    /// Its text for so many rows, at most [`LONGEST`], or a few more.
    pub(super) fn text(&'static self, rows: usize) -> &'static str {
        let place = LENGTHS.partition_point(|length| *length < rows);
        self.texts[place].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(","));
            format!("{} (values {}) {}", self.before, vec![row; LENGTHS[place]].join(","), self.after)
        })
    }

    /// Runs it on `rows`, each bound by `bind`, and says how many rows it changed.
    pub(super) async fn change<Row>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[Row],
        bind: impl Fn(&mut Arguments, &Row),
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for (text, bound) in self.parts(rows, bind) {
            changed += bound.query(text).execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs it on `rows` likewise, and gives the text that it gives for each.
    pub(super) async fn fetch<Row>(
        &'static self,
        connection: &mut SqliteConnection,
        rows: &[Row],
        bind: impl Fn(&mut Arguments, &Row),
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut texts = Vec::with_capacity(rows.len());
        for (text, bound) in self.parts(rows, bind) {
            texts.extend(fetch(connection, text, bound).await?);
        }
        Ok(texts)
    }

    fn parts<Row>(
        &'static self,
        rows: &[Row],
        bind: impl Fn(&mut Arguments, &Row),
    ) -> impl Iterator<Item = (&'static str, Arguments)> {
        rows.chunks(LONGEST).map(move |part| {
            let mut bound = Arguments::default();
            part.iter().for_each(|row| bind(&mut bound, row));
            (self.text(part.len()), bound)
        })
    }
}
