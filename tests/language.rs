//! The documents, measured: they are read at night, by engineers for whom English is a second language.
//!
//! What is counted, and how:
//!
//! - A **sentence** ends with `.`, `!` or `?` before white space, or where its paragraph, list item or
//!   table cell ends. A colon or a semicolon does not end it. Most have 22 words at most (the 90th
//!   percentile of a document), and none more than 35.
//! - A **word** is what stands between white space and has a letter or a digit. Code in backticks is one
//!   word, and a link is its text.
//! - Code blocks and headings have no sentences. A table cell is held to the 35 words only.
//! - Pages for users have 10 **headings** or more for every 1 000 words outside of code blocks, so that
//!   a reader finds the place without reading the page.
//! - In Chinese a **clause** ends with `，。；：！？、` or where its line ends, and has 40 characters at
//!   most. Code in backticks is one character.
//! - **Words** that were hard to understand do not come back: in documents, in `--help` and in `src`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The 90th percentile of the words of a sentence, and the most that any may have.
const MOST_WORDS: usize = 22;
const NO_SENTENCE_OVER: usize = 35;
/// Headings for every 1 000 words.
const HEADINGS: usize = 10;
/// Characters of a Chinese clause.
const MOST_CHARACTERS: usize = 40;
/// Words of the README outside of its code blocks.
const README_WORDS: usize = 1_400;

/// What must not come back. Each is found as whole words, also where a line is wrapped.
const BANNED: [&str; 14] = [
    "misfortune",
    "misfortunes",
    "bent",
    "on record",
    "ever more rarely",
    "must not be spoken for",
    "lie, pause, forget or vanish",
    "works as it is, but that",
    "stands below",
    "Redis gone is",
    "what is there already",
    "so does the command",
    "hand-over to whoever",
    "gets it for ever",
];

/// What is measured of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Sentences,
    Headings,
    Clauses,
    Words,
}

#[test]
fn the_documents_are_plain() {
    let mut wrong: BTreeMap<(String, Measure), Vec<String>> = BTreeMap::new();
    let mut note = |file: &str, measure, found: Vec<String>| {
        if !found.is_empty() {
            wrong.insert((file.to_owned(), measure), found);
        }
    };
    let documents = documents();
    assert!(documents.len() >= 10, "the documents are found: {documents:?}");
    for file in &documents {
        let text = read(file);
        note(file, Measure::Words, banned(&text));
        if file.ends_with(".zh-CN.md") {
            note(file, Measure::Clauses, long_clauses(&text));
            continue;
        }
        note(file, Measure::Sentences, long_sentences(&text));
        if file == "README.md" || file.starts_with("docs/") {
            note(file, Measure::Headings, too_few_headings(&text));
        }
    }
    note("src", Measure::Words, sources().iter().flat_map(|(file, text)| in_file(file, banned(text))).collect());
    note("--help", Measure::Words, banned(&help()));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_is_short() {
    let words = Document::of(&read("README.md")).words;
    assert!(words <= README_WORDS, "{words} words");
}

// --- The measures ---

/// The sentences that are too long, where there are too many of them.
fn long_sentences(text: &str) -> Vec<String> {
    let Document { sentences, cells, .. } = Document::of(text);
    let mut lengths: Vec<usize> = sentences.iter().map(|sentence| words(sentence)).collect();
    lengths.sort_unstable();
    let percentile = lengths.get((lengths.len() * 9).div_ceil(10).saturating_sub(1)).copied().unwrap_or_default();
    let limit = if percentile > MOST_WORDS { MOST_WORDS } else { NO_SENTENCE_OVER };
    let long = sentences.iter().filter(|sentence| words(sentence) > limit);
    let long = long.chain(cells.iter().filter(|cell| words(cell) > NO_SENTENCE_OVER));
    let long: Vec<String> = long.map(|sentence| format!("{} words: {sentence}", words(sentence))).collect();
    if percentile > MOST_WORDS {
        return [vec![format!("90th percentile: {percentile} words")], long].concat();
    }
    long
}

fn too_few_headings(text: &str) -> Vec<String> {
    let Document { headings, words, .. } = Document::of(text);
    let enough = headings * 1_000 >= words * HEADINGS;
    if enough { Vec::new() } else { vec![format!("{headings} headings for {words} words")] }
}

fn long_clauses(text: &str) -> Vec<String> {
    let Document { lines, .. } = Document::of(text);
    let clauses = lines.iter().flat_map(|line| line.split(['，', '。', '；', '：', '！', '？', '、']));
    let long = clauses.filter(|clause| clause.trim().chars().count() > MOST_CHARACTERS);
    long.map(|clause| format!("{} characters: {clause}", clause.trim().chars().count())).collect()
}

/// The banned words of a text, with what stands around them.
fn banned(text: &str) -> Vec<String> {
    // Comments and paragraphs are wrapped.
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['/', '!', '>']).trim());
    let text = lines.collect::<Vec<_>>().join(" ").to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for banned in BANNED {
        for (at, _) in text.match_indices(&banned.to_lowercase()) {
            let (before, after) = (&text[..at], &text[at + banned.len()..]);
            if !before.ends_with(is_word) && !after.starts_with(is_word) {
                let before: String = before.chars().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect();
                let after: String = after.chars().take(20).collect();
                found.push(format!("{before}{banned}{after}"));
            }
        }
    }
    found
}

fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

// --- Reading a document ---

/// A document, taken apart.
#[derive(Debug, Default)]
struct Document {
    sentences: Vec<String>,
    cells: Vec<String>,
    headings: usize,
    /// Words outside of code blocks.
    words: usize,
    /// The lines that are neither code nor headings, nor lines of tables.
    lines: Vec<String>,
}

impl Document {
    fn of(text: &str) -> Self {
        let mut document = Self::default();
        let mut paragraph = String::new();
        let mut inside_code = false;
        for line in text.lines().chain([""]) {
            let begins = line.trim_start();
            if begins.starts_with("```") {
                inside_code = !inside_code;
            }
            if inside_code || begins.starts_with("```") {
                document.end(&mut paragraph);
                continue;
            }
            let line = plain(begins);
            document.words += words(&line);
            if begins.starts_with('#') {
                document.end(&mut paragraph);
                document.headings += 1;
            } else if begins.starts_with('|') {
                document.end(&mut paragraph);
                document.cells.extend(line.split('|').map(|cell| cell.trim().to_owned()));
            } else {
                let item = item(&line);
                if begins.is_empty() || item.is_some() {
                    document.end(&mut paragraph);
                }
                paragraph = format!("{paragraph} {}", item.unwrap_or(&line));
                document.lines.push(line);
            }
        }
        document
    }

    /// Ends a paragraph: its sentences are known now.
    fn end(&mut self, paragraph: &mut String) {
        let text = std::mem::take(paragraph);
        let mut sentence = String::new();
        for word in text.split_whitespace() {
            sentence = format!("{sentence} {word}").trim_start().to_owned();
            let end = word.trim_end_matches(['*', '"', ')', '_', '”']).ends_with(['.', '!', '?']);
            if end {
                self.sentences.push(std::mem::take(&mut sentence));
            }
        }
        if words(&sentence) > 0 {
            self.sentences.push(sentence);
        }
    }
}

/// What an item of a list says, where the line begins one: `- a` or `1. a`.
fn item(line: &str) -> Option<&str> {
    let numbered = || line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". ");
    line.strip_prefix("- ").or_else(|| numbered().filter(|_| line.starts_with(|c: char| c.is_ascii_digit())))
}

/// A line without links, and with one sign for each piece of code in it. That sign is a letter.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for (quoted, part) in line.split('`').enumerate() {
        if quoted % 2 == 1 {
            plain.push('c');
            continue;
        }
        let mut rest = part;
        while let Some((before, link)) = rest.split_once("](") {
            plain.push_str(before);
            rest = link.split_once(')').map_or("", |(_, after)| after);
        }
        plain.push_str(rest);
    }
    plain.replace(['[', ']'], "")
}

/// `*.md` at the root, in `docs` and in `bench`.
fn documents() -> Vec<String> {
    let in_folder = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.ends_with(".md"));
        names.map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    let mut files = ["", "docs/", "bench/"].map(in_folder).concat();
    files.sort();
    files
}

fn sources() -> Vec<(String, String)> {
    let mut folders = vec![root().join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                sources.push((file, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    sources
}

fn in_file(file: &str, found: Vec<String>) -> Vec<String> {
    found.into_iter().map(|found| format!("{file}: {found}")).collect()
}

/// What `--help` says, of the program and of each command.
fn help() -> String {
    let commands = ["", "serve", "migrate", "check", "repair", "alarms", "alarms test", "config", "demo", "version"];
    let help = |command: &str| {
        let arguments = command.split_whitespace().chain(["--help"]);
        let output = Command::new(env!("CARGO_BIN_EXE_scanfence")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    commands.map(help).concat()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// --- The measures, seen red ---

/// So many words, and a full stop.
fn sentence(words: usize) -> String {
    format!("{}. ", vec!["word"; words].join(" "))
}

#[test]
fn long_sentences_are_seen() {
    assert!(long_sentences(&sentence(22).repeat(10)).is_empty());
    assert_eq!(long_sentences(&(sentence(5).repeat(8) + &sentence(23).repeat(2))).len(), 3, "two of ten are too many");
    assert!(long_sentences(&(sentence(5).repeat(9) + &sentence(35))).is_empty(), "one of ten may be longer");
    assert_eq!(long_sentences(&(sentence(5).repeat(20) + &sentence(36))).len(), 1);
    let item = format!("- {}\n", sentence(20).trim_end_matches(". "));
    assert!(long_sentences(&item.repeat(3)).is_empty(), "an item ends a sentence");
    assert_eq!(
        long_sentences(&format!("{}\n{}", vec!["word"; 20].join(" "), sentence(20))).len(),
        2,
        "a line does not"
    );
    assert!(long_sentences(&format!("| {} |\n", sentence(35))).is_empty());
    assert_eq!(long_sentences(&format!("| a | {} |\n", sentence(36))).len(), 1, "cells are held to the longest only");
    assert!(long_sentences(&format!("# {0}\n```sh\n{0}\n```\n", sentence(40))).is_empty());
}

#[test]
fn a_document_is_taken_apart() {
    let text = "# A heading\n\n1. **Bold.** Use `a b c` and [a link](http://x/y).\n   It goes on\n   here: now; so.\n2. Next\n\
                | a | b c |\n| --- | --- |\n";
    let Document { sentences, headings, words, .. } = Document::of(text);
    assert_eq!(sentences, ["**Bold.**", "Use c and a link.", "It goes on here: now; so.", "Next"]);
    assert_eq!((headings, words), (1, 20));
}

#[test]
fn too_few_headings_are_seen() {
    let text = |headings: usize, words: usize| "# a\n".repeat(headings) + &sentence(words - headings);
    assert!(too_few_headings(&text(10, 1_000)).is_empty());
    assert!(!too_few_headings(&text(9, 1_000)).is_empty());
    assert!(too_few_headings(&text(1, 100)).is_empty());
}

#[test]
fn long_clauses_are_seen() {
    let clause = |length: usize| "字".repeat(length);
    assert!(long_clauses(&format!("{}，{}。\n{}", clause(40), clause(40), clause(40))).is_empty());
    assert_eq!(long_clauses(&format!("{}，{}。", clause(41), clause(40))).len(), 1);
    assert!(long_clauses(&format!("{}`{}`[{}](http://x)", clause(10), clause(80), clause(10))).is_empty());
    assert!(long_clauses(&format!("# {0}\n| {0} |\n```\n{0}\n```", clause(41))).is_empty());
}

#[test]
fn banned_words_are_seen() {
    assert_eq!(banned("The lease is\n/// on\n/// record.").len(), 1);
    assert_eq!(banned("A Misfortune, and what is bent.").len(), 2);
    assert!(banned("Benton has a bent_row and misfortunate recording.").is_empty());
}
