//! Snapshots: log, rows and claims as one transaction sees them, read directly from either store. Only
//! changes are read again, so that four snapshots a second don't disturb the service.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// A row of the log, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    pub request_id: String,
    pub work_order: String,
    pub seq: Option<i64>,
    pub at_seq: Option<i64>,
    pub counter: String,
    pub action: String,
    pub quantity: Option<i64>,
    pub asked_delta: Option<i64>,
    pub set_to: Option<i64>,
    pub barcodes: Option<String>,
    pub undoes: Option<String>,
    #[serde(deserialize_with = "truth")]
    pub r#override: bool,
    pub settles: Option<String>,
    pub delta: i64,
    pub before: i64,
    pub after: i64,
    pub takes_back: Option<String>,
    #[serde(deserialize_with = "truth")]
    pub late: bool,
    pub barcode: Option<String>,
    pub step: String,
    pub station: Option<String>,
    pub terminal: Option<String>,
    pub operator: Option<String>,
    pub reason: Option<String>,
    pub note: Option<String>,
    pub fence: i64,
    pub work_order_status: String,
    pub scanned_at: Option<String>,
    pub outcome: String,
    pub code: Option<String>,
}

const ROW: &[&str] = &[
    "request_id",
    "work_order",
    "seq",
    "at_seq",
    "counter",
    "action",
    "quantity",
    "asked_delta",
    "set_to",
    "barcodes",
    "undoes",
    "override",
    "settles",
    "delta",
    "before",
    "after",
    "takes_back",
    "late",
    "barcode",
    "step",
    "station",
    "terminal",
    "operator",
    "reason",
    "note",
    "fence",
    "work_order_status",
    "scanned_at",
    "outcome",
    "code",
];

/// SQLite has no booleans: they are 0 and 1.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value == true || value == 1)
}

/// The row of a work order, as far as it is judged.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkOrder {
    pub work_order: String,
    pub input_quantity: i64,
    pub output_quantity: i64,
    pub scrap_quantity: i64,
    pub seq: i64,
    pub fence: i64,
    /// Changes with every write.
    pub stamp: i64,
}

const WORK_ORDER: &[&str] =
    &["work_order", "input_quantity", "output_quantity", "scrap_quantity", "seq", "fence", "stamp"];

/// A standing claim of a barcode.
#[derive(Clone, Debug, Deserialize)]
pub struct Claim {
    pub work_order: String,
    pub counter: String,
    pub step: String,
    pub barcode: String,
    pub request_id: String,
    pub quantity: i64,
}

const CLAIM: &[&str] = &["work_order", "counter", "step", "barcode", "request_id", "quantity"];

/// What one transaction saw of the work orders that have changed since the snapshot before.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Taken after this.
    pub began: Instant,
    /// The changed work orders.
    pub work_orders: Vec<WorkOrder>,
    /// Their log from where it was known: counted rows by `seq`; of the refused ones some may
    /// have been seen before.
    pub rows: Vec<Row>,
    /// Their claims, all of them.
    pub claims: Vec<Claim>,
}

/// Where the books are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Books {
    /// In the PostgreSQL database of this URL.
    Postgres(String),
    /// In this SQLite file.
    Sqlite(PathBuf),
}

/// Takes snapshots of one database, each from where the one before has ended.
pub struct Reader {
    books: Books,
    connection: Option<Connection>,
    /// `seq` and stamp of each work order as last seen.
    seen: HashMap<String, (i64, i64)>,
}

enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Reader {
    /// One that has seen nothing yet.
    pub fn new(books: Books) -> Self {
        Self { books, connection: None, seen: HashMap::new() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn snapshot(&mut self) -> Result<Snapshot, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::to(&self.books).await?,
        };
        let began = Instant::now();
        connection.execute(connection.begin()).await?;
        let work_orders: Vec<WorkOrder> = connection.rows(WORK_ORDER, "work_orders r", &[]).await?;
        let changed = |order: &WorkOrder| self.seen.get(&order.work_order).is_none_or(|seen| seen.1 != order.stamp);
        let work_orders: Vec<WorkOrder> = work_orders.into_iter().filter(changed).collect();
        let known: Vec<(&str, i64)> = work_orders
            .iter()
            .map(|order| (order.work_order.as_str(), self.seen.get(&order.work_order).map_or(0, |seen| seen.0)))
            .collect();
        let mut rows: Vec<Row> = Vec::new();
        let mut claims: Vec<Claim> = Vec::new();
        if !known.is_empty() {
            let since = "k join update_log r on r.work_order = k.work_order where r.seq > k.seq";
            rows = connection.rows(ROW, since, &known).await?;
            let since = "k join update_log r on r.work_order = k.work_order where r.seq is null and r.at_seq >= k.seq";
            rows.extend(connection.rows::<Row>(ROW, since, &known).await?);
            let of_these = "k join barcode_claims r on r.work_order = k.work_order";
            claims = connection.rows(CLAIM, of_these, &known).await?;
        }
        connection.execute("commit").await?;
        self.connection = Some(connection);
        rows.sort_by(|one, other| (&one.work_order, one.seq).cmp(&(&other.work_order, other.seq)));
        for order in &work_orders {
            self.seen.insert(order.work_order.clone(), (order.seq, order.stamp));
        }
        Ok(Snapshot { began, work_orders, rows, claims })
    }

    /// Counts the rows of the log, whether or not they belong to a work order.
    ///
    /// # Errors
    /// Where the database is not there.
    pub async fn rows_in_all(books: &Books) -> Result<usize, sqlx::Error> {
        let mut connection = Connection::to(books).await?;
        let ids: Vec<Value> = connection.rows(&["request_id"], "update_log r", &[]).await?;
        Ok(ids.len())
    }
}

impl Connection {
    async fn to(books: &Books) -> Result<Self, sqlx::Error> {
        match books {
            Books::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                // From the work orders into the log, however long that has become.
                let probes = "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off";
                sqlx::raw_sql(probes).execute(&mut connection).await?;
                Ok(Self::Postgres(connection))
            }
            Books::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file);
                SqliteConnection::connect_with(&options).await.map(Self::Sqlite)
            }
        }
    }

    /// Begins what sees one state only.
    fn begin(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "begin isolation level repeatable read read only",
            Self::Sqlite(_) => "begin",
        }
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(connection) => sqlx::raw_sql(statement).execute(connection).await.map(drop),
            Self::Sqlite(connection) => sqlx::raw_sql(statement).execute(connection).await.map(drop),
        }
    }

    /// Reads these columns of the rows `r`, by way of JSON, so that one reader serves both
    /// stores. `k` are the work orders of `known`, where there are any, and a `seq` of each.
    async fn rows<T: DeserializeOwned>(
        &mut self,
        columns: &[&str],
        from: &str,
        known: &[(&str, i64)],
    ) -> Result<Vec<T>, sqlx::Error> {
        let numbers: Vec<&str> = known.iter().map(|&(number, _)| number).collect();
        let seqs: Vec<i64> = known.iter().map(|&(_, seq)| seq).collect();
        let texts: Vec<(String,)> = match self {
            Self::Postgres(connection) => {
                let columns: Vec<String> = columns.iter().map(|column| format!("'{column}', r.{column}")).collect();
                let known =
                    "with k as materialized (select * from unnest($1::text[], $2::bigint[]) as k(work_order, seq))";
                let select = format!("{known} select json_build_object({})::text from {from}", columns.join(", "));
                sqlx::query_as(AssertSqlSafe(select)).bind(numbers).bind(seqs).fetch_all(connection).await?
            }
            Self::Sqlite(connection) => {
                let columns: Vec<String> = columns.iter().map(|column| format!("'{column}', r.{column}")).collect();
                let known =
                    "with k as materialized (select value ->> 0 as work_order, value ->> 1 as seq from json_each($1))";
                let select = format!("{known} select json_object({}) from {from}", columns.join(", "));
                let pairs = serde_json::json!(numbers.iter().zip(&seqs).collect::<Vec<_>>()).to_string();
                sqlx::query_as(AssertSqlSafe(select)).bind(pairs).fetch_all(connection).await?
            }
        };
        let read = |(text,): &(String,)| serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()));
        texts.iter().map(read).collect()
    }
}
