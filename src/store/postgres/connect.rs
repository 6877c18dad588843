//! Connecting to PostgreSQL: every wait of a session bounded, and no server taken that
//! can't keep the promises.

use std::pin::pin;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::super::connections::Connections;
use super::super::{Readiness, StoreError, migrations};
use super::judge;

/// The oldest server that is taken, as `server_version_num`.
const OLDEST_SERVER: i32 = 150_000;
/// From this server on there is `transaction_timeout`.
const TRANSACTION_TIMEOUT_SERVER: i32 = 170_000;
/// How long starting tries to reach the server: after a power cut it may come up later than this
/// process. Short, since who mistyped the address waits as long; long enough that a supervisor
/// which starts us again at once, for as long as it takes, does not give up (systemd does after
/// five starts within ten seconds).
const REACH_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two tries, or two askings for the lock.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long starting waits for another replica's migrations. Its own take as long as they take: an
/// index on a large log is made in minutes or hours.
const TURN_LIMIT: Duration = Duration::from_secs(60);
/// The advisory lock of the migrations: any number will do, and it must not change.
const TURN: i64 = 0x7363_616e_6665_6e63;

/// How long it may take until a session has its limits, or to be told of another one.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often one that waits for a standby is looked after. If its server has vanished without a
/// word, its place among the connections is free so much later.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a session waits for a row lock. Locks are held for a few milliseconds;
/// whoever holds one longer is stopped, and its session ended by the next limit.
const LOCK_TIMEOUT: &str = "1s";
/// How long a session may hold an open transaction without a word (pitfall 19).
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "2s";
/// How long one statement may run. PostgreSQL takes this limit off before it commits.
const STATEMENT_TIMEOUT: &str = "5s";
/// How long a whole transaction may last, taken off before the commit like the one above.
const TRANSACTION_TIMEOUT: &str = "7s";

/// Why the store can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `DATABASE_URL` does not parse.
    #[error("DATABASE_URL is no PostgreSQL address")]
    BadUrl(#[source] sqlx::Error),
    /// The server can't be reached.
    #[error("PostgreSQL can't be reached")]
    Unreachable(#[source] sqlx::Error),
    /// It did not answer in time.
    #[error("PostgreSQL did not answer within {REACH_LIMIT:?}")]
    TimedOut,
    /// Others have been at it for too long.
    #[error("another process migrates the tables, and was not done within {TURN_LIMIT:?}")]
    OthersMigrate,
    /// The tables can't be made or brought up to date.
    #[error("the tables can't be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Too old.
    #[error("PostgreSQL 15 or later is needed; this is server_version_num {0}")]
    TooOld(i32),
    /// A setting under which a 201 would not be on disk.
    #[error("{setting}={value} on the PostgreSQL server: an acknowledged scan could be lost; turn it on")]
    NotDurable {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: String,
    },
}

/// How statements are planned in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plans {
    /// Once: the statements of counting are built of probes that have only one good plan.
    Generic,
    /// For the values at hand, as lists with optional filters need it.
    Custom,
}

pub(super) fn options(url: &str) -> Result<PgConnectOptions, StartError> {
    // sqlx looks at no scheme: the address of another kind of server would be tried as this one's.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StartError::BadUrl(sqlx::Error::Configuration("it must begin with postgres://".into())));
    }
    let options = PgConnectOptions::from_str(url).map_err(StartError::BadUrl)?;
    Ok(options.application_name("scanfence").disable_statement_logging())
}

pub(super) fn connections(options: &PgConnectOptions, size: usize, plans: Plans) -> Connections<PgConnection> {
    let options = options.clone();
    Connections::new(size, move || {
        let options = options.clone();
        async move { open(&options, plans).await }.boxed()
    })
}

/// A session that is ready for use. Before it has limits of its own it ends at [`CONNECT_LIMIT`];
/// then it waits for the standby, where there is one to wait for, as long as the server does.
async fn open(options: &PgConnectOptions, plans: Plans) -> Result<PgConnection, sqlx::Error> {
    let connect = async {
        let mut connection = options.connect().await?;
        let session = set_limits(&mut connection, plans).await?;
        Ok::<_, sqlx::Error>((connection, session))
    };
    let (mut connection, session) = timeout(CONNECT_LIMIT, connect).await.map_err(|_| no_answer())??;
    await_standby(&mut connection, &session, options).await?;
    Ok(connection)
}

fn no_answer() -> sqlx::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer").into()
}

/// Which session of the server one is.
struct Session {
    pid: i32,
    /// Another may get the number later, but not from the same time on.
    began: String,
}

/// Sets the session's limits.
async fn set_limits(connection: &mut PgConnection, plans: Plans) -> Result<Session, sqlx::Error> {
    let (version, pid, began): (i32, i32, String) = sqlx::query_as(
        "select current_setting('server_version_num')::int,
                pg_backend_pid(),
                (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid()),
                set_config('lock_timeout', $1, false),
                set_config('idle_in_transaction_session_timeout', $2, false),
                set_config('statement_timeout', $3, false),
                set_config('plan_cache_mode', $4, false),
                set_config('enable_seqscan', $5, false),
                set_config('enable_hashjoin', $5, false),
                set_config('enable_mergejoin', $5, false),
                -- verified at start; should it be turned off since, sessions keep the promise
                set_config('synchronous_commit', case current_setting('synchronous_commit')
                    when 'off' then 'on' else current_setting('synchronous_commit') end, false),
                set_config('jit', 'off', false),
                set_config('timezone', 'UTC', false),
                set_config('datestyle', 'ISO', false)",
    )
    .bind(LOCK_TIMEOUT)
    .bind(IDLE_IN_TRANSACTION_TIMEOUT)
    .bind(STATEMENT_TIMEOUT)
    .bind(match plans {
        Plans::Generic => "force_generic_plan",
        Plans::Custom => "auto",
    })
    .bind(match plans {
        // A plan made while the tables are empty must not scan them once they are full, and
        // the guarded write locks in the order of a nested loop.
        Plans::Generic => "off",
        Plans::Custom => "on",
    })
    .fetch_one(&mut *connection)
    .await?;
    if version >= TRANSACTION_TIMEOUT_SERVER {
        sqlx::query("select set_config('transaction_timeout', $1, false)")
            .bind(TRANSACTION_TIMEOUT)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Session { pid, began })
}

/// Waits for one synchronous commit.
///
/// After a crash or a promotion a row is visible before a synchronous standby has it
/// (pitfall 29). A commit of our own has it wait for all that came before, so that no
/// replay is answered from a row that a second failure could take back.
///
/// A session that waits for a standby has no time limit and does not notice that its client
/// has gone. Given up by the clock it would stay, and the next attempt add another, until the
/// server takes no more. So it is given up only when the server no longer has it, or is gone.
async fn await_standby(
    connection: &mut PgConnection,
    session: &Session,
    options: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    let commit = sqlx::query(
        "select case when current_setting('synchronous_standby_names') <> '' and not pg_is_in_recovery()
                     then pg_logical_emit_message(true, 'scanfence', 'connected')::text end",
    )
    .execute(connection);
    while_it_goes_on(commit, || is_there(session, options)).await.map(drop)
}

/// Waits for `work` as long as it goes on, which is looked after every [`LOOK_EVERY`].
async fn while_it_goes_on<T, Look: Future<Output = bool>>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
    goes_on: impl Fn() -> Look,
) -> Result<T, sqlx::Error> {
    let mut work = pin!(work);
    loop {
        match timeout(LOOK_EVERY, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) if goes_on().await => {}
            Err(_) => return Err(no_answer()),
        }
    }
}

/// Whether the server still has this session, as another one sees it.
async fn is_there(session: &Session, options: &PgConnectOptions) -> bool {
    let look = async {
        let mut connection = options.connect().await?;
        let find = "select from pg_stat_activity where pid = $1 and extract(epoch from backend_start)::text = $2";
        let find = sqlx::query(find).bind(session.pid).bind(&session.began);
        let found = find.fetch_optional(&mut connection).await?.is_some();
        connection.close().await?;
        Ok::<_, sqlx::Error>(found)
    };
    match timeout(CONNECT_LIMIT, look).await {
        Ok(Ok(found)) => found,
        // It answers, but takes no further session now.
        Ok(Err(sqlx::Error::Database(_))) => true,
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Refuses a server that is too old, or that acknowledges what is not on disk.
pub(super) async fn verify(options: &PgConnectOptions) -> Result<(), StartError> {
    let mut connection = reach(options).await?;
    let look = async {
        let settings: (i32, String, String, String) = sqlx::query_as(
            "select current_setting('server_version_num')::int, current_setting('fsync'),
                    current_setting('full_page_writes'), current_setting('synchronous_commit')",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(settings)
    };
    let (version, fsync, full_page_writes, synchronous_commit) = answered(look).await?;
    if version < OLDEST_SERVER {
        return Err(StartError::TooOld(version));
    }
    let settings =
        [("fsync", fsync), ("full_page_writes", full_page_writes), ("synchronous_commit", synchronous_commit)];
    match settings.into_iter().find(|(_, value)| value == "off") {
        Some((setting, value)) => Err(StartError::NotDurable { setting, value }),
        None => Ok(()),
    }
}

/// Makes the tables, or brings them up to date. Safe when several replicas start at
/// once: they wait for each other on an advisory lock.
///
/// # Errors
/// See [`StartError`].
pub async fn migrate(url: &str) -> Result<(), StartError> {
    let mut connection = reach(&options(url)?).await?;
    take_turn(&mut connection).await?;
    migrations::POSTGRES.run(&mut connection).await?;
    answered(connection.close()).await
}

/// Takes the lock of the migrations, for as long as the session lasts. It asks again and again: a
/// session that waits in the server holds a snapshot, for the end of which an index that is made
/// `concurrently` under the lock would wait in turn. (sqlx takes a lock like that for its run.)
async fn take_turn(connection: &mut PgConnection) -> Result<(), StartError> {
    let begun = Instant::now();
    loop {
        let take = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(TURN);
        if answered(take.fetch_one(&mut *connection)).await? {
            return Ok(());
        }
        if begun.elapsed() >= TURN_LIMIT {
            return Err(StartError::OthersMigrate);
        }
        sleep(ASK_EVERY).await;
    }
}

/// Connects, trying again while nobody is there to answer.
async fn reach(options: &PgConnectOptions) -> Result<PgConnection, StartError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let left = REACH_LIMIT.saturating_sub(begun.elapsed());
        match timeout(left, options.connect()).await.map_err(|_| StartError::TimedOut)? {
            Ok(connection) => return Ok(connection),
            Err(error) if may_come_up(&error) && begun.elapsed() + 2 * ASK_EVERY < REACH_LIMIT => {
                if !told {
                    warn!(%error, "PostgreSQL can't be reached yet: trying again for {REACH_LIMIT:?}");
                }
                told = true;
                sleep(ASK_EVERY).await;
            }
            Err(error) => return Err(StartError::Unreachable(error)),
        }
    }
}

/// Whether the server may be there soon. What it says about password or database is final.
fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        // Refused, no route, a name that is not known (yet), hung up on while it stops.
        sqlx::Error::Io(_) => true,
        // It stops, or starts: admin shutdown, crash shutdown, cannot connect now.
        sqlx::Error::Database(refusal) => matches!(refusal.code().as_deref(), Some("57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StartError> {
    timeout(REACH_LIMIT, asked).await.map_err(|_| StartError::TimedOut)?.map_err(StartError::Unreachable)
}

pub(super) async fn readiness(connection: &mut PgConnection) -> Result<Readiness, StoreError> {
    let versions: Vec<i64> = migrations::POSTGRES.iter().map(|migration| migration.version).collect();
    let (writable, migrated, synchronous_standby) = sqlx::query_as(
        "select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off',
                (select count(*) from _sqlx_migrations where success and version = any ($1)) = cardinality($1),
                -- with `local` nobody waits for the standby, with `remote_write` not for its disk
                current_setting('synchronous_standby_names') <> ''
                    and current_setting('synchronous_commit') in ('on', 'remote_apply')",
    )
    .bind(versions)
    .fetch_one(connection)
    .await
    .map_err(judge)?;
    Ok(Readiness { writable, migrated, synchronous_standby })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_standby_ends_with_its_session_and_not_by_the_clock() {
        let begun = tokio::time::Instant::now();
        let looks = Cell::new(0);
        let three_times = || {
            looks.set(looks.get() + 1);
            ready(looks.get() <= 3)
        };
        let gone = while_it_goes_on(pending::<Result<(), _>>(), three_times).await;
        assert!(matches!(gone, Err(sqlx::Error::Io(_))), "{gone:?}");
        assert_eq!((looks.get(), begun.elapsed()), (4, 4 * LOOK_EVERY));

        let (day, begun) = (Duration::from_secs(24 * 60 * 60), tokio::time::Instant::now());
        let committed = async {
            sleep(day).await;
            Ok(())
        };
        while_it_goes_on(committed, || ready(true)).await.expect("the standby is back");
        assert_eq!(begun.elapsed(), day);
    }
}
