//! SQL is in `.sql` files, not in strings.

use crate::reading::{Source, sources};

/// What begins, ends or sets up a transaction is short and has no file.
const MAY_STAND_IN_STRINGS: [&str; 5] = ["begin", "commit", "rollback", "pragma", "savepoint"];
/// Short ones that set up a session or put texts of `.sql` files together.
const SHORT: [&str; 3] = ["select set_config(", "select pg_try_advisory_lock(", "with {}{}"];

#[test]
fn sql_is_in_sql_files() {
    let is_store = |path: &str| ["src/store/postgres", "src/store/sqlite"].iter().any(|start| path.starts_with(start));
    let of_stores = || sources().iter().filter(|source| is_store(&source.path));
    assert!(of_stores().count() >= 2, "the stores were not found");
    let found: Vec<String> = of_stores()
        .flat_map(|source| statements(source).into_iter().map(|text| format!("{}: {}", source.path, start(text))))
        .collect();
    assert!(found.is_empty(), "put it into a .sql file: {found:#?}");
}

/// The strings of a file that are, or begin, a statement.
fn statements(source: &Source) -> Vec<&str> {
    let is_statement = |text: &&String| {
        let word = first_word(text);
        // `begin; update …` is no short one.
        let later = text.split(';').skip(1).any(begins_statement);
        let is_short = SHORT.iter().any(|start| text.starts_with(start));
        begins_statement(text) && !is_short || MAY_STAND_IN_STRINGS.contains(&&*word) && later
    };
    source.strings.iter().filter(is_statement).map(String::as_str).collect()
}

fn start(text: &str) -> String {
    text.trim_start().chars().take_while(|&c| c != '\n').take(60).collect()
}

fn begins_statement(text: &str) -> bool {
    let more = text.trim_start().contains(char::is_whitespace);
    more && ["select", "insert", "update", "delete", "with"].contains(&&*first_word(text))
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().trim_end_matches(';').to_lowercase()
}

#[test]
fn a_statement_in_a_string_is_seen() {
    for (code, seen) in [
        ("const A: &str = \"select 1\";", 1),
        ("const A: &str = r#\"\n  INSERT into t values (1)\"#;", 1),
        ("fn f() { sqlx::query(\"update t set a = 1\"); g(\"delete from t\") }", 2),
        ("const A: &str = concat!(\"with \", include_str!(\"a.sql\"));", 1),
        ("const A: &str = concat!(\"select \", b!());", 1),
        ("fn f() { execute(\"begin immediate;\\n update t set a = 1\") }", 1),
        (
            "fn f() { execute(\"begin\"); execute(\"commit\"); execute(\"rollback\"); execute(\"pragma user_version\") }",
            0,
        ),
        ("fn f() { query(\"select set_config('a', $1, false)\") }", 0),
        ("const A: &str = include_str!(\"a/select.sql\"); const B: &str = \"update\";", 0),
        ("/// select a from b\n#[error(\"select a from b\")] struct A;", 0),
        ("#[cfg(test)] mod tests { const A: &str = \"select 1\"; }", 0),
    ] {
        assert_eq!(statements(&Source::of("src/store/postgres/a.rs", code)).len(), seen, "{code}");
    }
}
