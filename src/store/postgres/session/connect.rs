//! Opening a session: its time limits, its plans, and the wait for a synchronous standby.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;

use crate::store::connections::{Connections, Idleness, Opener, Server};

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

/// A session of counting that was used within this time is not checked: a look costs a round trip, and
/// counting tries again by itself.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long an idle session is kept. Firewalls forget silent connections, mostly after some minutes.
const KEPT: Duration = Duration::from_secs(60);

/// What a set of sessions is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Use {
    /// Statements that are built of probes with only one good plan. They are planned once.
    Counting,
    /// The same, where nobody tries again: each idle session is checked.
    Monitor,
    /// Statements with optional filters. They are planned for the values of each run.
    Others,
    /// The look whether the server takes writes. Only this one may go to a standby.
    Readiness,
}

impl Use {
    fn idleness(self) -> Idleness {
        let trusted = if self == Self::Counting { TRUSTED } else { Duration::ZERO };
        Idleness { trusted, kept: KEPT }
    }

    fn plans_once(self) -> bool {
        matches!(self, Self::Counting | Self::Monitor)
    }

    /// The settings of a session. They go to the server with the request to connect. If they were set later,
    /// a pooler between us could give them to other programs.
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        // A plan made while the tables are empty must not scan them once they are full. And the guarded
        // write locks in the order of a nested loop.
        let (plans, scans) = if self.plans_once() { ("force_generic_plan", "off") } else { ("auto", "on") };
        let mut settings = SETTINGS.to_vec();
        settings.push(("plan_cache_mode", plans));
        settings.extend(["enable_seqscan", "enable_hashjoin", "enable_mergejoin"].map(|name| (name, scans)));
        settings
    }
}

/// The settings of every session.
const SETTINGS: [(&str, &str); 9] = [
    ("lock_timeout", LOCK_TIMEOUT),
    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
    ("statement_timeout", STATEMENT_TIMEOUT),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("datestyle", "ISO"),
    // If this machine disappears, the server ends our sessions and frees their locks after 15 s.
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
];

/// A set of sessions of this server.
pub(in super::super) fn connections(
    options: &PgConnectOptions,
    server: &Server,
    size: usize,
    of: Use,
) -> Connections<PgConnection> {
    let options = options.clone().options(of.settings());
    Connections::new(size, server, of.idleness(), Sessions { options, of })
}

/// Opens and checks the sessions of a set.
struct Sessions {
    options: PgConnectOptions,
    of: Use,
}

impl Opener<PgConnection> for Sessions {
    fn open(&self) -> BoxFuture<'static, Result<PgConnection, sqlx::Error>> {
        let (options, of) = (self.options.clone(), self.of);
        async move { open(&options, of).await }.boxed()
    }

    fn check<'c>(&self, connection: &'c mut PgConnection) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        let of = self.of;
        async move {
            let in_recovery = sqlx::query_scalar(include_str!("in_recovery.sql")).fetch_one(connection).await?;
            refuse_recovery(in_recovery, of)
        }
        .boxed()
    }
}

/// Opens a session that is ready for use. Until it has its own limits, [`CONNECT_LIMIT`] ends it.
/// Then it waits for the standby, if there is one, as long as the server waits.
async fn open(options: &PgConnectOptions, of: Use) -> Result<PgConnection, sqlx::Error> {
    let connect = async {
        let mut connection = options.connect().await?;
        let session = begin(&mut connection).await?;
        refuse_recovery(session.in_recovery, of)?;
        Ok::<_, sqlx::Error>((connection, session))
    };
    let (mut connection, session) = timeout(CONNECT_LIMIT, connect).await.map_err(|_| no_answer())??;
    if of != Use::Readiness {
        await_standby(&mut connection, &session, options).await?;
    }
    Ok(connection)
}

/// Refuses a standby, and a server that is being restored: what it has may be old.
fn refuse_recovery(in_recovery: bool, of: Use) -> Result<(), sqlx::Error> {
    match in_recovery && of != Use::Readiness {
        true => Err(std::io::Error::other("the server is in recovery: it is a standby, or is being restored").into()),
        false => Ok(()),
    }
}

fn no_answer() -> sqlx::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer").into()
}

/// A session of the server.
struct Session {
    pid: i32,
    /// Another session may get the same number later, but not the same begin.
    began: String,
    in_recovery: bool,
}

/// Looks which session it is, and sets what depends on the server.
async fn begin(connection: &mut PgConnection) -> Result<Session, sqlx::Error> {
    let (version, pid, began, in_recovery): (i32, i32, String, bool) =
        sqlx::query_as(include_str!("begin_session.sql")).fetch_one(&mut *connection).await?;
    if version >= TRANSACTION_TIMEOUT_SERVER {
        sqlx::query("select set_config('transaction_timeout', $1, false)")
            .bind(TRANSACTION_TIMEOUT)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Session { pid, began, in_recovery })
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
