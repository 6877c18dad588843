//! A shop floor over one store, a monitor for it, and wrong changes of its rows by hand.

use std::sync::Arc;

use scanfence::domain::consistency::{Check, CheckState, Finding, Kind, Range};
use scanfence::domain::ids::WorkOrderNumber;
use scanfence::domain::request::Request;
use scanfence::domain::work_order::{BarcodePolicy, Plan};
use scanfence::monitor::{Monitor, Report, Settings, Step};
use scanfence::schedule::Schedule;
use scanfence::store::Store;
use scanfence::store::consistency::ConsistencyStore;
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::sqlite::SqliteStore;
use scanfence::store::sqlite::folder::{self, DATABASE};
use scanfence::telemetry::Metrics;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::shop;
use crate::stage::postgres::Database;
use crate::stage::service::Setup;

/// A store and its database.
pub struct Floor {
    pub store: Arc<dyn Store>,
    pub consistency: Arc<dyn ConsistencyStore>,
    pub monitor: Arc<Monitor>,
    ground: Ground,
}

enum Ground {
    Postgres(Database),
    Sqlite(TempDir),
}

impl Floor {
    pub async fn postgres() -> Self {
        let database = Database::fresh().await;
        postgres::migrate(database.url()).await.unwrap();
        let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
        Self::over(store.clone(), store, Ground::Postgres(database))
    }

    pub async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        folder::migrate(folder.path()).await.unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
        Self::over(store.clone(), store, Ground::Sqlite(folder))
    }

    fn over(store: Arc<dyn Store>, consistency: Arc<dyn ConsistencyStore>, ground: Ground) -> Self {
        let monitor = Arc::new(monitor(&consistency, "floor", off()));
        Self { store, consistency, monitor, ground }
    }

    /// Another monitor over the same store, as of another process.
    pub fn another(&self, name: &str, settings: Settings) -> Monitor {
        monitor(&self.consistency, name, settings)
    }

    /// How a service over the same database is started.
    pub fn setup(&self) -> Setup {
        match &self.ground {
            Ground::Postgres(database) => Setup::shared(database.url()),
            Ground::Sqlite(folder) => Setup::embedded(folder.path()),
        }
    }

    /// The settings of a command beside it.
    pub fn environment(&self) -> (&'static str, String) {
        match &self.ground {
            Ground::Postgres(database) => ("DATABASE_URL", database.url().to_owned()),
            Ground::Sqlite(folder) => ("SCANFENCE_DATA", folder.path().to_str().unwrap().to_owned()),
        }
    }

    /// Runs statements that both databases understand.
    pub async fn sql(&self, statements: &str) {
        self.try_sql(statements).await.unwrap();
    }

    /// Tries to.
    pub async fn try_sql(&self, statements: &str) -> Result<(), sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.ground {
            Ground::Postgres(database) => database.connect().await.execute(statements).await.map(drop),
            Ground::Sqlite(folder) => {
                let options = SqliteConnectOptions::new().filename(folder.path().join(DATABASE));
                let mut connection = SqliteConnection::connect_with(&options).await?;
                connection.execute(statements).await.map(drop)
            }
        }
    }

    /// A work order of this policy, without a limit.
    pub async fn work_order(&self, policy: BarcodePolicy) -> WorkOrderNumber {
        let number = shop::number();
        let plan = Plan { barcode_policy: policy, ..shop::plan() };
        shop::put(self.store.as_ref(), &number, plan).await;
        number
    }

    /// Counts these, one after the other.
    pub async fn count(&self, requests: &[Request]) {
        for request in requests {
            shop::count(self.store.as_ref(), std::slice::from_ref(request)).await;
        }
    }

    /// Runs a check to its end.
    pub async fn check(&self, range: Range, work_order: Option<&WorkOrderNumber>) -> Report {
        let work_order = work_order.map(ToString::to_string);
        let check = self.monitor.ask(range, work_order, None, "test").await.unwrap();
        self.run(&check).await
    }

    /// Runs this check to its end.
    pub async fn run(&self, check: &Check) -> Report {
        let step = self.monitor.run_check(check, &CancellationToken::new(), &|_| {}).await.unwrap();
        assert!(matches!(step, Step::Ended(CheckState::Good | CheckState::Drift)), "{step:?}");
        self.monitor.report(&check.check_id).await.unwrap().expect("it was asked for")
    }

    /// Checks everything, and gives what is open of this work order.
    pub async fn open(&self, work_order: &WorkOrderNumber) -> Vec<Finding> {
        let report = self.check(Range::Full, None).await;
        report.findings.into_iter().filter(|finding| finding.work_order == work_order.as_str()).collect()
    }

    /// Checks everything; there is this one finding of the work order.
    pub async fn only(&self, work_order: &WorkOrderNumber, kind: Kind) -> Finding {
        let mut open = self.open(work_order).await;
        assert_eq!(open.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind], "{open:#?}");
        open.remove(0)
    }
}

fn monitor(store: &Arc<dyn ConsistencyStore>, name: &str, settings: Settings) -> Monitor {
    Monitor::new(Arc::clone(store), Arc::new(Metrics::new()), name.to_owned(), settings)
}

/// Nothing is done by itself.
pub fn off() -> Settings {
    Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() }
}
