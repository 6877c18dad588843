//! Opening a session: its time limits, its plans, and the wait for a synchronous standby.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;

use crate::store::connections::Connections;

/// From this server on there is `transaction_timeout`.
const TRANSACTION_TIMEOUT_SERVER: i32 = 170_000;
/// How long a session may take until it has its limits, and how long a look for another one takes.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a session that waits for a standby is checked. If its server disappeared silently, its
/// place among the connections is free after this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a session waits for a row lock. Locks are held for a few milliseconds. A process that
/// holds one for longer is stopped, and the next limit ends its session.
const LOCK_TIMEOUT: &str = "1s";
/// How long a session may hold an open transaction without a statement (pitfall 19).
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "2s";
/// How long one statement may run. PostgreSQL ends this limit before it commits.
const STATEMENT_TIMEOUT: &str = "5s";
/// How long a whole transaction may last; it also ends before the commit.
const TRANSACTION_TIMEOUT: &str = "7s";

/// How statements are planned in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Plans {
    /// Once: the statements of counting are built of probes that have only one good plan.
    Generic,
    /// For the values of each run, as lists with optional filters need it.
    Custom,
}

pub(in super::super) fn connections(
    options: &PgConnectOptions,
    size: usize,
    plans: Plans,
) -> Connections<PgConnection> {
    let options = options.clone();
    Connections::new(size, move || {
        let options = options.clone();
        async move { open(&options, plans).await }.boxed()
    })
}

/// Opens a session that is ready for use. Until it has its own limits, [`CONNECT_LIMIT`] ends it.
/// Then it waits for the standby, if there is one, as long as the server waits.
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

/// A session of the server.
struct Session {
    pid: i32,
    /// Another session may get the same number later, but not the same begin.
    began: String,
}

/// Sets the session's limits.
async fn set_limits(connection: &mut PgConnection, plans: Plans) -> Result<Session, sqlx::Error> {
    let (version, pid, began): (i32, i32, String) = sqlx::query_as(include_str!("limits.sql"))
        .bind(LOCK_TIMEOUT)
        .bind(IDLE_IN_TRANSACTION_TIMEOUT)
        .bind(STATEMENT_TIMEOUT)
        .bind(match plans {
            Plans::Generic => "force_generic_plan",
            Plans::Custom => "auto",
        })
        .bind(match plans {
            // A plan made while the tables are empty must not scan them once they are full. And the
            // guarded write locks in the order of a nested loop.
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
/// After a crash or a promotion, a row is visible before a synchronous standby has it (pitfall 29).
/// Our own commit waits until the standby has all rows before it. So no replay is answered from a row
/// that a second failure could take back.
///
/// A session that waits for a standby has no time limit and does not notice that its client has gone.
/// If a clock ended our wait, the session would stay and the next attempt would add another, until
/// the server takes no more. So the wait ends only if the server no longer has the session, or is gone.
async fn await_standby(
    connection: &mut PgConnection,
    session: &Session,
    options: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    let commit = sqlx::query(include_str!("synchronous_commit.sql")).execute(connection);
    while_it_goes_on(commit, || is_there(session, options)).await.map(drop)
}

/// Waits for `work` as long as it goes on. This is checked every [`LOOK_EVERY`].
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
        let find = sqlx::query(include_str!("find_session.sql")).bind(session.pid).bind(&session.began);
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::time::sleep;

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
