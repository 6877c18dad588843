//! The borders, held by reading the source.
//!
//! Who may import whom, who alone may name a crate, and whether the map is true. A part
//! without a line in [`MAY_IMPORT`] fails: whoever adds a part says where it belongs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The parts of `src`, and which others each may import (ARCHITECTURE.md, "Layers").
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("telemetry", &["domain"]),
    ("schedule", &["domain"]),
    ("config", &["domain", "telemetry", "schedule"]),
    ("store", &["domain", "telemetry"]),
    ("lease", &["domain", "telemetry"]),
    ("counting", &["domain", "telemetry", "store", "lease"]),
    ("monitor", &["domain", "telemetry", "schedule", "store"]),
    ("alarms", &["domain", "telemetry", "schedule", "store"]),
    ("http", &["domain", "telemetry", "store", "lease", "counting", "monitor", "alarms"]),
];

/// The parts that put the others together, and so may import them all.
const COMPOSITION: [&str; 5] = ["app", "cli", "demo", "lib", "main"];

/// Crates and modules that only some parts may name.
const ONLY_IN: [(&str, &[&str]); 14] = [
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("sqlx", &["store"]),
    ("redis", &["lease"]),
    ("clap", &["config", "cli", "main"]),
    ("std::env", &["config", "cli", "main"]),
    ("toml", &["config"]),
    ("croner", &["schedule"]),
    ("chrono_tz", &["schedule"]),
    ("indicatif", &["cli", "demo"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Crates that one file alone may name: what leaves the plant leaves it there. The demo
/// calls nobody but itself.
const ONLY_BY: [(&str, &[&str]); 3] = [
    ("reqwest", &["src/alarms/senders/web.rs", "src/demo/service.rs"]),
    ("lettre", &["src/alarms/senders/mail.rs"]),
    ("standardwebhooks", &["src/alarms/senders/payload.rs"]),
];

#[test]
fn every_part_imports_only_those_below_it() {
    let found: Vec<String> =
        sources().iter().flat_map(|source| forbidden_imports(&source.part, &source.code)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_outside_crate_is_named_by_its_part_alone() {
    let found: Vec<String> = sources().iter().flat_map(|source| forbidden_names(&source.part, &source.code)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_leaves_the_plant_leaves_it_by_one_file_each() {
    let found: Vec<String> = sources().iter().flat_map(|source| strangers(&source.path, &source.code)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let unwraps = |source: &&Source| source.code.contains(".unwrap()");
    let found: Vec<PathBuf> = sources().iter().filter(unwraps).map(|source| source.path.clone()).collect();
    assert!(found.is_empty(), "say why it can't fail, by expect: {found:#?}");
}

#[test]
fn every_path_on_the_map_exists() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    let paths = paths_on_map(&map);
    assert!(paths.len() > 10, "the map names its places in backticks: {paths:?}");
    let missing: Vec<&str> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_test_named_in_the_table_of_faults_exists() {
    let table = std::fs::read_to_string(root().join("docs/FAULTS.md")).expect("docs/FAULTS.md can be read");
    let files = ["src", "tests"].into_iter().flat_map(|folder| files_below(&root().join(folder), "rs"));
    let text: String = files.map(|file| std::fs::read_to_string(file).expect("sources are UTF-8")).collect();
    let named = tests_in_table(&table);
    assert!(named.len() > 10, "the last cell of a row names tests in backticks: {named:?}");
    let missing: Vec<&str> = named.into_iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_part_is_on_the_map() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read");
    let parts: BTreeSet<String> = sources().into_iter().map(|source| source.part).collect();
    let missing: Vec<&String> = parts.iter().filter(|part| !map.contains(&format!("`{part}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Defects of others that counting a scan must not have. The test that shows one to be
/// impossible has its number in its name, as in `pitfall_28_…` or `pitfall_04_09_…`.
const PITFALLS: [std::ops::RangeInclusive<u32>; 5] = [2..=11, 18..=18, 20..=32, 34..=34, 36..=50];

#[test]
fn every_pitfall_has_a_test_with_its_number() {
    let files = ["src", "tests"].into_iter().flat_map(|folder| files_below(&root().join(folder), "rs"));
    let text: String = files.map(|file| std::fs::read_to_string(file).expect("sources are UTF-8")).collect();
    let shown: Vec<u32> = text
        .split("fn pitfall_")
        .skip(1)
        .flat_map(|name| name.split('_').map_while(|number| number.parse().ok()))
        .collect();
    let missing: Vec<u32> = PITFALLS.into_iter().flatten().filter(|number| !shown.contains(number)).collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
}

// --- The rules ---

struct Source {
    path: PathBuf,
    /// The top-level module: the first folder or the file below `src`.
    part: String,
    /// The text without comments, strings, characters and tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let is_shipped = |path: &PathBuf| !path.iter().any(|name| name == "tests" || name == "tests.rs");
    let source = |path: PathBuf| {
        let part = path.strip_prefix(&src).expect("it is below src").iter().next().expect("it has a name");
        let part = Path::new(part).file_stem().expect("it has a name").to_string_lossy().into_owned();
        let code = without_tests(&code_of(&std::fs::read_to_string(&path).expect("sources are UTF-8")));
        Source { path, part, code }
    };
    let sources: Vec<Source> = files_below(&src, "rs").into_iter().filter(is_shipped).map(source).collect();
    assert!(sources.len() > 10, "src was not found");
    sources
}

fn forbidden_imports(part: &str, code: &str) -> Vec<String> {
    let is_part = |name: &str| COMPOSITION.contains(&name) || MAY_IMPORT.iter().any(|&(part, _)| part == name);
    if COMPOSITION.contains(&part) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|&&(row, _)| row == part) else {
        return vec![format!("{part} has no line in tests/tidy.rs")];
    };
    let mut found = Vec::new();
    for path in paths(code) {
        let supers = path.iter().take_while(|&&step| step == "super").count();
        let steps_out = if path[0] == "crate" { 1 } else { supers };
        let Some(&target) = path.get(steps_out).filter(|_| steps_out > 0) else { continue };
        // `super` mostly stays within the part; no module in there is named like a part.
        let leaves = path[0] == "crate" || is_part(target);
        if leaves && target != part && !allowed.contains(&target) {
            found.push(format!("{part} imports {}", path.join("::")));
        }
    }
    found
}

fn forbidden_names(part: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths(code) {
        for (name, parts) in ONLY_IN {
            // A word alone is a variable, or a module of our own.
            let named = path.join("::");
            let is_named =
                named == name && path.len() > 1 || named.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
            if is_named && !parts.contains(&part) {
                found.push(format!("{part} names {named}"));
            }
        }
    }
    found
}

fn strangers(file: &Path, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths(code) {
        for (name, by) in ONLY_BY {
            if path.len() > 1 && path[0] == name && !by.iter().any(|by| file == root().join(by)) {
                found.push(format!("{} names {}", file.display(), path.join("::")));
            }
        }
    }
    found
}

fn paths_on_map(map: &str) -> BTreeSet<&str> {
    const KINDS: [&str; 9] = [".rs", ".sql", ".lua", ".md", ".toml", ".yaml", ".yml", ".cfg", ".service"];
    let quoted = map.split('`').skip(1).step_by(2);
    // Routes begin with a slash; words of code hold other signs.
    let looks_like_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let ends = KINDS.iter().any(|kind| word.ends_with(kind)) || word.ends_with('/') || word.starts_with("./");
        plain && !word.starts_with('/') && ends
    };
    quoted.filter(looks_like_path).collect()
}

/// What stands in backticks in the last cell of each row of the tables.
fn tests_in_table(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let last_cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    let names = last_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.filter(|name| name.contains('_') && !name.contains('=')).collect()
}

// --- Reading Rust, as far as it is needed here ---

/// Blanks out what is no code: comments, strings and characters.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).filter(|_| !word) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        code.extend(rest[..length].matches('\n'));
        rest = &rest[length..];
    }
    code
}

/// The length of a quoted text, escapes minded.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string, where one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inner = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inner.find(&close).map_or(inner.len(), |end| end + close.len());
    Some(text.len() - inner.len() + end)
}

/// A character, not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Every path in the code, with groups written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut tokens = tokens(code).into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_word(token) {
            path(token, &[], &mut tokens, &mut found);
        } else if token == "." {
            tokens.next_if(|next| is_word(next)); // a field or method
        }
    }
    found
}

type Tokens<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn path<'a>(first: &'a str, before: &[&'a str], tokens: &mut Tokens<'a>, found: &mut Vec<Vec<&'a str>>) {
    let mut steps = before.to_vec();
    steps.push(first);
    while tokens.next_if_eq(&"::").is_some() {
        if let Some(step) = tokens.next_if(|next| is_word(next) || *next == "*") {
            steps.push(step);
        } else if tokens.next_if_eq(&"{").is_some() {
            while let Some(token) = tokens.next().filter(|&token| token != "}") {
                if is_word(token) {
                    path(token, &steps, tokens, found);
                }
            }
            return;
        } else {
            break; // type arguments follow
        }
    }
    found.push(steps);
}

fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()) {
            0 if rest.starts_with("::") || rest.starts_with("..") => 2,
            0 => first.len_utf8(),
            word => word,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The code without what is compiled for tests only.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let body = &rest[at..];
        let mut depth = 0;
        let end = body.char_indices().find(|&(_, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && matches!(c, '}' | ';')
        });
        rest = end.map_or("", |(end, _)| &body[end + 1..]);
    }
    kept + rest
}

fn files_below(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        if path.is_dir() {
            files.extend(files_below(&path, kind));
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// --- The rules, seen red ---

#[test]
fn a_crossed_border_is_seen() {
    for (part, code, seen) in [
        ("domain", "use crate::store::Store;", 1),
        ("domain", "use super::ids::Fence; use crate::domain::text;", 0),
        ("domain", "fn f() { super::super::lease::local() }", 1),
        ("domain", "// crate::store\n const A: &str = \"crate::store\";", 0),
        ("store", "use crate::{domain::{ids::Fence, time}, lease::{Ask, Held}};", 2),
        ("store", "use super::{StoreError, rows}; use super::super::http;", 1),
        ("lease", "pub mod redis; use super::redis::Lock; use super::telemetry;", 0),
        ("counting", "let row: Option<crate::http::Row> = None;", 1),
        ("http", "use crate::{counting::Answer, store, domain};", 0),
        ("http", "use crate::app;", 1),
        ("monitor", "use crate::store::consistency::Page; use crate::counting::Intake;", 1),
        ("app", "use crate::{http, store, lease, counting};", 0),
        ("unheard_of", "", 1),
    ] {
        assert_eq!(forbidden_imports(part, &code_of(code)).len(), seen, "{part}: {code}");
    }
}

#[test]
fn a_crate_named_elsewhere_is_seen() {
    for (part, code, seen) in [
        ("counting", "use sqlx::PgPool;", 1),
        ("store", "use sqlx::PgPool;", 0),
        ("counting", "fn f() -> Result<(), sqlx::Error> { g::<axum::Json<i32>>() }", 2),
        ("app", "use std::{env, fs}; use std::env::var;", 2),
        ("config", "use std::{env, fs};", 0),
        (
            "app",
            "lease::redis::connect(); use crate::lease::{local, redis::Redis}; let redis = config.redis; f(redis)",
            0,
        ),
        ("app", "redis::Client::open(url)", 1),
        ("app", "let c = '\"'; hyper::x(); let d = r#\"axum::y\"#; fn f<'a>(a: &'a u8) {}", 1),
    ] {
        assert_eq!(forbidden_names(part, &code_of(code)).len(), seen, "{part}: {code}");
    }
}

#[test]
fn a_way_out_of_the_plant_elsewhere_is_seen() {
    let (web, watch) = (root().join("src/alarms/senders/web.rs"), root().join("src/monitor/alarms/watch.rs"));
    for (file, code, seen) in [
        (&web, "use reqwest::Client;", 0),
        (&watch, "use reqwest::{Client, Url};", 2),
        (&watch, "fn f() { lettre::Message::builder() }", 1),
        (&watch, "let reqwest = 1; f(reqwest)", 0),
    ] {
        assert_eq!(strangers(file, &code_of(code)).len(), seen, "{}: {code}", file.display());
    }
}

#[test]
fn an_unwrap_is_seen_where_it_counts() {
    for (code, seen) in [
        ("fn f() { g().unwrap() }", true),
        ("#[cfg(test)] mod tests { fn f() { g().unwrap() } }", false),
        ("#[cfg(test)] mod tests { fn f() { if a { b } } } fn f() { g().unwrap() }", true),
        ("#[cfg(test)] use x; fn f() { g().unwrap() }", true),
        ("/// `.unwrap()`\nfn f() { g().unwrap_or(1) }", false),
    ] {
        assert_eq!(without_tests(&code_of(code)).contains(".unwrap()"), seen, "{code}");
    }
}

#[test]
fn a_path_on_the_map_is_told_from_other_words() {
    let map =
        "`src/lib.rs` `tests/` `./test` `Cargo.toml` but `/v1/scans`, `a::b`, `once`, `update … set`, `max.rs {}`";
    assert_eq!(Vec::from_iter(paths_on_map(map)), ["./test", "Cargo.toml", "src/lib.rs", "tests/"]);
}

#[test]
fn a_test_named_in_a_table_is_seen() {
    let table = "| fault | shown by |\n| --- | --- |\n| `an_event` | `a_test` and `b_test` |\n`c_test`";
    assert_eq!(tests_in_table(table), BTreeSet::from(["a_test", "b_test"]));
}
