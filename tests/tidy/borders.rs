//! Who may import whom, and who alone may name a crate.
//!
//! A part without a line in [`MAY_IMPORT`] fails: whoever adds a part says where it belongs.

use crate::reading::{By, Source, absolute, sources};

/// The parts of `src`, and which others each may import (ARCHITECTURE.md, "Layers").
const MAY_IMPORT: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("telemetry", &["domain"]),
    ("schedule", &["domain"]),
    ("config", &["domain", "telemetry", "schedule"]),
    ("store", &["domain", "telemetry"]),
    ("lease", &["domain", "telemetry"]),
    ("counting", &["domain", "clock", "telemetry", "store", "lease"]),
    ("monitor", &["domain", "clock", "telemetry", "schedule", "store"]),
    ("alarms", &["domain", "clock", "telemetry", "schedule", "store"]),
    ("http", &["domain", "clock", "telemetry", "store", "lease", "counting", "monitor", "alarms"]),
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

/// Crates that only these files may name: they send data out of the plant. The demo
/// sends to its own service only.
const ONLY_BY: [(&str, &[&str]); 3] = [
    ("reqwest", &["src/alarms/senders/web.rs", "src/demo/service.rs"]),
    ("lettre", &["src/alarms/senders/mail.rs"]),
    ("standardwebhooks", &["src/alarms/senders/payload.rs"]),
];

#[test]
fn every_part_imports_only_those_below_it() {
    let found: Vec<String> = sources().iter().flat_map(forbidden_imports).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_outside_crate_is_named_by_its_part_alone() {
    let found: Vec<String> = sources().iter().flat_map(forbidden_names).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_leaves_the_plant_leaves_it_by_one_file_each() {
    let found: Vec<String> = sources().iter().flat_map(strangers).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let found: Vec<&str> = sources().iter().filter(|source| source.unwraps > 0).map(|source| &*source.path).collect();
    assert!(found.is_empty(), "say why it can't fail, by expect: {found:#?}");
}

fn forbidden_imports(source: &Source) -> Vec<String> {
    let part = &*source.part;
    if COMPOSITION.contains(&part) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|&&(row, _)| row == part) else {
        return vec![format!("{part} has no line in tests/tidy/borders.rs")];
    };
    let mut found = Vec::new();
    for (module, named) in source.named() {
        let target = absolute(&module.path, &named.steps).and_then(|path| path.into_iter().next());
        if target.is_some_and(|target| target != part && !allowed.contains(&&*target)) {
            found.push(format!("{} imports {}", source.path, named.text()));
        }
    }
    found
}

fn forbidden_names(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (_, named) in source.named() {
        for (name, parts) in ONLY_IN {
            let text = named.text();
            let rest = text.strip_prefix(name);
            // A word alone is a variable or a module of our own, unless `use` brings it in.
            let alone = named.steps.len() > 1 || named.by != By::Path;
            let is_named = rest.is_some_and(|rest| rest.is_empty() && alone || rest.starts_with("::"));
            if is_named && !parts.contains(&&*source.part) {
                found.push(format!("{} names {text}", source.path));
            }
        }
    }
    found
}

fn strangers(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (_, named) in source.named().filter(|(_, named)| named.steps.len() > 1 || named.by != By::Path) {
        for (name, by) in ONLY_BY {
            if named.steps[0] == name && !by.contains(&&*source.path) {
                found.push(format!("{} names {}", source.path, named.text()));
            }
        }
    }
    found
}

#[test]
fn a_crossed_border_is_seen() {
    for (part, code, seen) in [
        ("domain", "use crate::store::Store;", 1),
        ("domain", "use super::ids::Fence; use crate::domain::text;", 0),
        ("domain", "fn f() { super::super::lease::local() }", 1),
        ("domain", "mod inner { use super::super::ids; use super::super::super::lease; }", 1),
        ("domain", "// crate::store\n const A: &str = \"crate::store\";", 0),
        ("domain", "fn f() { assert!(crate::store::ready()) }", 1),
        ("store", "use crate::{domain::{ids::Fence, time}, lease::{Ask, Held}};", 2),
        ("store", "use super::{StoreError, rows}; use super::super::http;", 1),
        ("lease", "pub mod redis; use super::redis::Lock; use super::telemetry;", 0),
        ("counting", "fn f() { let row: Option<crate::http::Row> = None; }", 1),
        ("http", "use crate::{counting::Answer, store, domain};", 0),
        ("http", "use crate::app;", 1),
        ("monitor", "use crate::store::consistency::Page; use crate::counting::Intake;", 1),
        ("monitor", "use crate::alarms::Watch;", 1),
        ("alarms", "use crate::{domain::alarm::Alarm, schedule, store::Store, telemetry};", 0),
        ("alarms", "use crate::{http, monitor};", 2),
        ("app", "use crate::{http, store, lease, counting};", 0),
        ("unheard_of", "", 1),
    ] {
        let source = Source::of(&format!("src/{part}/file.rs"), code);
        assert_eq!(forbidden_imports(&source).len(), seen, "{part}: {code}");
    }
}

#[test]
fn a_crate_named_elsewhere_is_seen() {
    for (part, code, seen) in [
        ("counting", "use sqlx::PgPool;", 1),
        ("counting", "use sqlx as database;", 1),
        ("store", "use sqlx::PgPool;", 0),
        ("counting", "fn f() -> Result<(), sqlx::Error> { g::<axum::Json<i32>>() }", 2),
        ("counting", "fn f() { tokio::select! { a = axum::serve() => {} } }", 1),
        ("counting", "#[derive(clap::Parser)] struct A;", 1),
        ("app", "use std::{env, fs}; use std::env::var;", 2),
        ("config", "use std::{env, fs};", 0),
        (
            "app",
            "use crate::lease::{local, redis::Redis};
             fn f() { lease::redis::connect(); let redis = config.redis; f(redis) }",
            0,
        ),
        ("app", "fn f() { redis::Client::open(url) }", 1),
        ("app", "fn f<'a>(a: &'a u8) { let c = '\"'; hyper::x(); let d = r#\"axum::y\"#; }", 1),
    ] {
        let source = Source::of(&format!("src/{part}/file.rs"), code);
        assert_eq!(forbidden_names(&source).len(), seen, "{part}: {code}");
    }
}

#[test]
fn a_way_out_of_the_plant_elsewhere_is_seen() {
    let (web, watch) = (ONLY_BY[0].1[0], "src/monitor/check.rs");
    for (file, code, seen) in [
        (web, "use reqwest::Client;", 0),
        (watch, "use reqwest::{Client, Url};", 2),
        (watch, "fn f() { lettre::Message::builder() }", 1),
        (watch, "fn f() { let reqwest = 1; f(reqwest) }", 0),
    ] {
        assert_eq!(strangers(&Source::of(file, code)).len(), seen, "{file}: {code}");
    }
}

#[test]
fn an_unwrap_is_seen_where_it_counts() {
    for (code, seen) in [
        ("fn f() { g().unwrap() }", true),
        ("fn f() { println!(\"{}\", g().unwrap()) }", true),
        ("#[cfg(test)] mod tests { fn f() { g().unwrap() } }", false),
        ("#[cfg(test)] mod tests { fn f() { if a { b } } } fn f() { g().unwrap() }", true),
        ("#[cfg(test)] use x; fn f() { g().unwrap() }", true),
        ("/// `.unwrap()`\nfn f() { g().unwrap_or(1) }", false),
    ] {
        assert_eq!(Source::of("src/app.rs", code).unwraps > 0, seen, "{code}");
    }
}
