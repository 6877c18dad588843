//! Starting: reach the server, and check what it promises.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::errors::judge;
use super::start_error::{REACH_LIMIT, StartError};
use crate::store::{Readiness, StoreError, migrations};

/// The oldest server that is taken, as `server_version_num`.
const OLDEST_SERVER: i32 = 150_000;
/// The pause between two tries to connect, or to take the lock.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);

/// The parameters of `DATABASE_URL` that the driver takes.
const PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Refuses parameters that the driver would only warn of, with their values in the log (a password under a
/// mistyped name). `channel_binding` is left out where it asks for nothing.
fn without_what_we_do_anyway(url: &str) -> Result<String, StartError> {
    let Some((address, query)) = url.split_once('?') else { return Ok(url.to_owned()) };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, value) {
            ("channel_binding", "prefer" | "disable") => {}
            _ if PARAMETERS.contains(&name) || name.starts_with("options[") => kept.push(pair),
            _ => return Err(StartError::Parameter(name.to_owned())),
        }
    }
    Ok(format!("{address}?{}", kept.join("&")))
}

/// A setting that is sent with the request to connect, to see whether it arrives.
const SENT: (&str, &str) = ("lock_timeout", "1s");

/// Reads `DATABASE_URL`.
pub(in super::super) fn options(url: &str) -> Result<PgConnectOptions, StartError> {
    // sqlx does not check the scheme: it would try the address of another kind of server.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StartError::BadUrl(sqlx::Error::Configuration("it must begin with postgres://".into())));
    }
    // With a user and no host, which the parameter `host` names, it would be no URL.
    let url = without_what_we_do_anyway(url)?.replacen("@/", "@localhost/", 1);
    let options = PgConnectOptions::from_str(&url).map_err(StartError::BadUrl)?;
    if options.get_host().contains(',') {
        return Err(StartError::SeveralHosts);
    }
    // The driver keeps the brackets of an IPv6 address.
    let host = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(ToOwned::to_owned);
    let options = match host {
        Some(host) => options.host(&host),
        None => options,
    };
    Ok(options.application_name("scanfence").disable_statement_logging())
}

/// Refuses a server that is too old, or that acknowledges a commit that is not on disk.
pub(in super::super) async fn verify(options: &PgConnectOptions) -> Result<(), StartError> {
    let mut connection = reach(&options.clone().options([SENT])).await?;
    let look = async {
        let settings: (i32, String, String, String, String, String) =
            sqlx::query_as(include_str!("verify.sql")).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(settings)
    };
    let (version, encoding, sent, fsync, full_page_writes, synchronous_commit) = answered(look).await?;
    if version < OLDEST_SERVER {
        return Err(StartError::TooOld(version));
    }
    if sent != SENT.1 {
        return Err(StartError::Pooler);
    }
    if encoding != "UTF8" {
        return Err(StartError::NotUtf8(encoding));
    }
    let settings =
        [("fsync", fsync), ("full_page_writes", full_page_writes), ("synchronous_commit", synchronous_commit)];
    match settings.into_iter().find(|(_, value)| value == "off") {
        Some((setting, value)) => Err(StartError::NotDurable { setting, value }),
        None => Ok(()),
    }
}

/// Connects, and tries again while no server answers.
pub(super) async fn reach(options: &PgConnectOptions) -> Result<PgConnection, StartError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let left = REACH_LIMIT.saturating_sub(begun.elapsed());
        match timeout(left, options.connect()).await.map_err(|_| StartError::TimedOut)? {
            Ok(connection) => return Ok(connection),
            Err(error) if may_come_up(&error) && begun.elapsed() + 2 * ASK_EVERY < REACH_LIMIT => {
                if !told {
                    warn!(%error, "PostgreSQL can't be reached yet: startup retries for {REACH_LIMIT:?}");
                }
                told = true;
                sleep(ASK_EVERY).await;
            }
            Err(error) => return Err(judge_refusal(error)),
        }
    }
}

/// What it means that the server did not take a connection.
fn judge_refusal(error: sqlx::Error) -> StartError {
    let refusal = error.as_database_error();
    let code = refusal.and_then(|refusal| refusal.code()).unwrap_or_default();
    match code.as_ref() {
        // invalid password, invalid authorization, insufficient privilege (on the database)
        "28P01" | "28000" | "42501" => StartError::NotLetIn(error),
        "3D000" => StartError::NoDatabase(error),
        // A session that is not new: its prepared statements are there already, or those of ours are not.
        "42P05" | "26000" => StartError::Pooler,
        // PgBouncer's answer, under the code of a protocol violation
        "08P01" if refusal.is_some_and(|refusal| refusal.message().contains("startup parameter")) => StartError::Pooler,
        _ => StartError::Unreachable(error),
    }
}

/// Whether the server may come up soon. An error of password or database is final.
fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        // Refused, no route, a name that is not known yet, a connection closed while it stops.
        sqlx::Error::Io(_) => true,
        // It stops, or starts: admin shutdown, crash shutdown, cannot connect now.
        sqlx::Error::Database(refusal) => matches!(refusal.code().as_deref(), Some("57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

pub(super) async fn answered<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StartError> {
    timeout(REACH_LIMIT, asked).await.map_err(|_| StartError::TimedOut)?.map_err(judge_refusal)
}

/// Whether the server is ready, and what a 201 rests on.
pub(in super::super) async fn readiness(connection: &mut PgConnection) -> Result<Readiness, StoreError> {
    let versions: Vec<i64> = migrations::POSTGRES.iter().map(|migration| migration.version).collect();
    let (writable, migrated, synchronous_standby) =
        sqlx::query_as(include_str!("readiness.sql")).bind(versions).fetch_one(connection).await.map_err(judge)?;
    Ok(Readiness { writable, migrated, synchronous_standby })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_its_usual_forms() {
        for (url, host) in [
            ("postgres://u:p@db.plant:5433/scanfence?sslmode=verify-full", "db.plant"),
            ("postgresql://u@[fd00::2]:5432/scanfence", "fd00::2"),
            ("postgres://u@h/d?channel_binding=prefer&application_name=x", "h"),
            ("postgres://u@/d?host=db.plant", "db.plant"),
            ("postgres://u@h/d?options=-csearch_path%3Dplant", "h"),
        ] {
            let options = options(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(options.get_host(), host, "{url}");
        }
        let sockets = [
            "postgres:///d?host=/run/postgresql",
            "postgres://u:p@/d?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/d",
        ];
        for url in sockets {
            let socket = options(url).unwrap_or_else(|error| panic!("{url}: {error}")).get_socket().cloned();
            assert_eq!(socket, Some("/run/postgresql".into()), "{url}");
        }
    }

    #[test]
    fn what_can_not_be_honoured_is_refused_by_name_and_no_value_is_told() {
        for (url, part) in [
            ("mysql://h/d", "no PostgreSQL address"),
            ("postgres://u@one,two/d", "several hosts"),
            ("postgres://u@h/d?pasword=S3CRET", "\"pasword\""),
            ("postgres://u@h/d?channel_binding=require", "\"channel_binding\""),
            ("postgres://u@h/d?target_session_attrs=read-write", "\"target_session_attrs\""),
        ] {
            let refused = options(url).expect_err(url);
            let told = format!("{refused} {}", crate::telemetry::causes(&refused));
            assert!(told.contains(part) && !told.contains("S3CRET"), "{url}: {told}");
        }
    }
}
