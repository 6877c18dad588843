//! What the documents name exists: paths, parts, tests.

use std::collections::BTreeSet;

use crate::reading::{files_in, root, sources};

#[test]
fn every_path_on_the_map_exists() {
    let map = map();
    let paths = paths_on_map(&map);
    assert!(paths.len() > 10, "the map names its places in backticks: {paths:?}");
    let missing: Vec<&str> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_test_named_in_the_table_of_faults_exists() {
    let table = std::fs::read_to_string(root().join("docs/FAULTS.md")).expect("docs/FAULTS.md can be read");
    let text = code_and_tests();
    let named = tests_in_table(&table);
    assert!(named.len() > 10, "the last cell of a row names tests in backticks: {named:?}");
    let missing: Vec<&str> = named.into_iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_part_is_on_the_map() {
    let map = map();
    let parts: BTreeSet<&str> = sources().iter().map(|source| &*source.part).collect();
    let missing: Vec<&&str> = parts.iter().filter(|part| !map.contains(&format!("`{part}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Known defects of other systems. The test that shows one to be impossible here has its
/// number in its name, as in `pitfall_28_…` or `pitfall_04_09_…`.
const PITFALLS: [std::ops::RangeInclusive<u32>; 5] = [2..=11, 18..=18, 20..=32, 34..=34, 36..=50];

#[test]
fn every_pitfall_has_a_test_with_its_number() {
    let text = code_and_tests();
    let shown: Vec<u32> = text
        .split("fn pitfall_")
        .skip(1)
        .flat_map(|name| name.split('_').map_while(|number| number.parse().ok()))
        .collect();
    let missing: Vec<u32> = PITFALLS.into_iter().flatten().filter(|number| !shown.contains(number)).collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
}

fn map() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md can be read")
}

fn code_and_tests() -> String {
    files_in(&["src", "tests"]).into_iter().map(|(_, text)| text).collect()
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
