//! The values of a statement, and how it is run.
//!
//! A short list is sent as one JSON text ([`list`]); the rows of a batch are bound value by value
//! ([`OnRows`](super::on_rows::OnRows)).

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use crate::domain::column::{Kind, Value};

/// A list as one JSON text.
pub(in super::super) fn list(items: &impl Serialize) -> String {
    serde_json::to_string(items).expect("rows are plain structs of text, numbers and booleans")
}

/// The values of one statement, in order.
#[derive(Default)]
pub(in super::super) struct Arguments(SqliteArguments);

impl Arguments {
    pub(in super::super) fn text(&mut self, value: &str) {
        self.maybe(Some(value));
    }

    pub(in super::super) fn maybe(&mut self, value: Option<&str>) {
        sqlx::Arguments::add(&mut self.0, value).expect("text is always encoded");
    }

    pub(in super::super) fn number(&mut self, value: i64) {
        self.maybe_number(Some(value));
    }

    pub(in super::super) fn maybe_number(&mut self, value: Option<i64>) {
        sqlx::Arguments::add(&mut self.0, value).expect("a number is always encoded");
    }

    /// The value of a column. SQLite has no booleans and no times: they are numbers and texts.
    pub(in super::super) fn value(&mut self, kind: Kind, value: Option<Value<'_>>) {
        match kind {
            Kind::Text => self.maybe(value.and_then(Value::text)),
            Kind::Number => self.maybe_number(value.and_then(Value::number)),
            Kind::SmallNumber => self.maybe_number(value.and_then(Value::small_number).map(i64::from)),
            Kind::Boolean => self.maybe_number(value.and_then(Value::boolean).map(i64::from)),
            Kind::Time => self.maybe(value.and_then(Value::time).map(|time| time.to_string()).as_deref()),
        }
    }

    pub(in super::super) fn query(
        self,
        statement: &'static str,
    ) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
        sqlx::query_with(statement, self.0)
    }

    pub(in super::super) fn query_as<Row>(
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
pub(in super::super) async fn run(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    Arguments::default().query(statement).execute(connection).await.map(drop)
}

/// Runs a statement that returns one JSON text per row.
pub(in super::super) async fn fetch(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<Vec<String>, sqlx::Error> {
    let rows = bound.query(statement).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
