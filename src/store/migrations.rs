//! The migrations of both stores, compiled in.
//!
//! Listed here, not gathered by sqlx's macro: the crate of that macro compiles both drivers
//! a second time, for the compiler, in every build.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($store:literal: $($file:literal),+ $(,)?) => {
        LazyLock::new(|| {
            Migrator::with_migrations(vec![
                $(migration($file, include_str!(concat!("../../migrations/", $store, "/", $file)))),+
            ])
        })
    };
}

/// What makes PostgreSQL's tables, or brings them up to date.
pub(super) static POSTGRES: LazyLock<Migrator> = migrations!("postgres": "0001_planning.sql", "0002_counting.sql", "0003_consistency.sql", "0004_audit.sql", "0005_alarms.sql");

/// What makes SQLite's.
pub(super) static SQLITE: LazyLock<Migrator> = migrations!("sqlite": "0001_planning.sql", "0002_counting.sql", "0003_consistency.sql", "0004_audit.sql", "0005_alarms.sql");

/// A migration by its file: `<version>_<description>.sql`. One that begins with
/// `-- no-transaction` runs without one, as sqlx's own readers have it.
fn migration(file: &'static str, sql: &'static str) -> Migration {
    let (version, description) =
        file.strip_suffix(".sql").and_then(|name| name.split_once('_')).expect("a migration's file has both");
    let version = version.parse().expect("a migration's version is a number");
    let no_transaction = sql.starts_with("-- no-transaction");
    Migration::new(
        version,
        description.replace('_', " ").into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        no_transaction,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folders_is_in() {
        for (store, migrator) in [("postgres", &*POSTGRES), ("sqlite", &*SQLITE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(store);
            let files = fs::read_dir(folder).expect("the folder is there").map(|file| file.expect("it can be read"));
            let files: BTreeSet<String> =
                files.map(|file| fs::read_to_string(file.path()).expect("it can be read")).collect();
            let known = migrator.iter().map(|migration| migration.sql.as_str().to_owned()).collect();
            assert_eq!(files, known, "{store}");
        }
    }

    #[test]
    fn a_migration_is_what_its_file_says() {
        let sql = "-- no-transaction\ncreate index concurrently i on t (c)";
        let migration = migration("0012_one_more_index.sql", sql);
        assert_eq!((migration.version, migration.description.as_ref()), (12, "one more index"));
        assert_eq!((migration.sql.as_str(), migration.no_tx), (sql, true));
        assert!(POSTGRES.iter().all(|migration| !migration.no_tx));
    }

    #[test]
    fn both_stores_have_the_same_migrations_in_order() {
        let names = |migrator: &Migrator| -> Vec<(i64, String)> {
            migrator.iter().map(|migration| (migration.version, migration.description.to_string())).collect()
        };
        assert_eq!(names(&POSTGRES), names(&SQLITE));
        let expected = [(1, "planning"), (2, "counting"), (3, "consistency"), (4, "audit"), (5, "alarms")];
        assert_eq!(names(&POSTGRES), expected.map(|(version, name)| (version, name.to_owned())));
    }
}
