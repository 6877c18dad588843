//! Whether an output is as a page tells it, but for what differs between two runs.
//!
//! In what a page tells, `…` stands for anything. A time stands for any time, and a number of
//! milliseconds for any. An id stands for one id: the same wherever the page tells it again, also in
//! a later command. All other text is compared as it is.

use std::collections::BTreeMap;

/// The ids that a page tells, and what they are in this run.
#[derive(Clone, Debug, Default)]
pub struct Ids(BTreeMap<String, String>);

impl Ids {
    /// The text with the ids of this run. What is new in it was chosen by the page, and is the same here.
    pub fn put_in(&mut self, told: &str) -> String {
        let parts = parts(told);
        let put = |part: Part| match part {
            Part::Text(text) | Part::Time(text) | Part::Milliseconds(text) => text,
            Part::Any => "…".to_owned(),
            Part::Id(id) => self.0.entry(id.clone()).or_insert(id).clone(),
        };
        parts.into_iter().map(put).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Any,
    Time(String),
    Milliseconds(String),
    Id(String),
}

/// Compares, and keeps the ids that are told for the first time.
///
/// # Errors
/// Where they differ: both texts, and what of the second nothing was told of.
pub fn compare(told: &str, seen: &str, ids: &mut Ids) -> Result<(), String> {
    let mut rest = seen.len();
    let mut found = ids.clone();
    if fits(&parts(told), seen, &mut found, &mut rest) {
        *ids = found;
        return Ok(());
    }
    Err(format!("told: {told}\nseen: {seen}\nnot as told from: {:?}", &seen[seen.len() - rest..]))
}

/// Without line ends, as a page wraps them.
pub fn unwrapped(text: &str) -> String {
    text.lines().map(str::trim).collect()
}

/// With one space for many, so that columns may be wider.
pub fn unpadded(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `rest` becomes the shortest rest that was reached.
fn fits(told: &[Part], seen: &str, ids: &mut Ids, rest: &mut usize) -> bool {
    *rest = (*rest).min(seen.len());
    let Some((first, told)) = told.split_first() else { return seen.is_empty() };
    match first {
        Part::Text(text) => seen.strip_prefix(text.as_str()).is_some_and(|seen| fits(told, seen, ids, rest)),
        Part::Time(_) => time(seen).is_some_and(|length| fits(told, &seen[length..], ids, rest)),
        Part::Milliseconds(_) => {
            let digits = digits(seen);
            digits > 0 && fits(told, &seen[digits..], ids, rest)
        }
        Part::Id(id) => {
            let Some(length) = self::id(seen) else { return false };
            let known = ids.0.entry(id.clone()).or_insert_with(|| seen[..length].to_owned());
            *known == seen[..length] && fits(told, &seen[length..], ids, rest)
        }
        Part::Any => {
            let next = told.first();
            let begins = |seen: &str| match next {
                Some(Part::Text(text)) => seen.starts_with(text.as_str()),
                Some(Part::Time(_) | Part::Milliseconds(_) | Part::Id(_) | Part::Any) => true,
                None => seen.is_empty(),
            };
            let mut places = seen.char_indices().map(|(at, _)| at).chain([seen.len()]);
            places.any(|at| {
                let mut tried = ids.clone();
                let fit = begins(&seen[at..]) && fits(told, &seen[at..], &mut tried, rest);
                if fit {
                    *ids = tried;
                }
                fit
            })
        }
    }
}

fn parts(told: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = told;
    let mut inside_word = false;
    while let Some(first) = rest.chars().next() {
        let part = |length: usize| rest[..length].to_owned();
        let (length, part) = if let Some(length) = time(rest) {
            (length, Some(Part::Time(part(length))))
        } else if let Some(length) = id(rest).filter(|_| !inside_word) {
            (length, Some(Part::Id(part(length))))
        } else if let Some(length) = milliseconds(rest).filter(|_| !inside_word) {
            (length, Some(Part::Milliseconds(part(length))))
        } else {
            (first.len_utf8(), (first == '…').then_some(Part::Any))
        };
        let text = &rest[..length];
        match (part, parts.last_mut()) {
            (Some(part), _) => parts.push(part),
            (None, Some(Part::Text(before))) => before.push_str(text),
            (None, _) => parts.push(Part::Text(text.to_owned())),
        }
        inside_word = text.ends_with(|c: char| c.is_ascii_alphanumeric());
        rest = &rest[length..];
    }
    parts
}

/// The length of a time at the beginning, such as `2026-11-22T19:14:12.454Z`, also without milliseconds.
fn time(text: &str) -> Option<usize> {
    let is_like = |shape: &str| {
        let same = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
        text.len() >= shape.len() && text.chars().zip(shape.chars()).all(same)
    };
    let shapes = ["0000-00-00T00:00:00.000000Z", "0000-00-00T00:00:00.000Z", "0000-00-00 00:00:00 UTC"];
    shapes.into_iter().find(|shape| is_like(shape)).map(str::len)
}

/// The length of an id at the beginning: a UUID, or sixteen hexadecimal digits.
fn id(text: &str) -> Option<usize> {
    let word = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    let lengths: Vec<usize> = text[..word].split('-').map(str::len).collect();
    let is_hex = text[..word].chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c));
    (is_hex && (lengths == [8, 4, 4, 4, 12] || lengths == [16])).then_some(word)
}

/// The length of the digits at the beginning, where milliseconds follow.
fn milliseconds(text: &str) -> Option<usize> {
    let digits = digits(text);
    let unit = text[digits..].strip_prefix(" ms")?;
    (digits > 0 && !unit.starts_with(|c: char| c.is_alphanumeric())).then_some(digits)
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

#[test]
fn an_output_that_is_told_wrongly_is_seen() {
    let seen = "found 0190f0c1-6a3e-7c52-9d01-3b7a52c41e02 in 17 ms at 2026-01-02T03:04:05.678Z, 3 rows";
    for (told, good) in [
        (seen, true),
        ("…", true),
        ("found 019b8203-1c00-7000-8000-00000000000f in 9 ms at 2026-11-22T19:14:12.454Z, 3 rows", true),
        ("found … in 9 ms at …, 3 rows", true),
        ("found … in 9 ms at …, 4 rows", false),
        ("found … in 9 ms", false),
        ("… in 9 ms at", false),
        ("found … in many ms at …", false),
        ("found 019b8203 in 9 ms…", false),
        ("…rows…found…", false),
    ] {
        assert_eq!(compare(told, seen, &mut Ids::default()).is_ok(), good, "{told}");
    }
}

#[test]
fn an_id_is_the_same_wherever_it_is_told() {
    let (told, other) = ("019b8203-1c00-7000-8000-00000000000f", "019b8203-1c00-7000-8000-00000000000e");
    let (seen, another) = ("0190f0c1-6a3e-7c52-9d01-3b7a52c41e02", "0190f0c1-6a3e-7c52-9d01-3b7a52c41e03");
    let mut ids = Ids::default();
    compare(&format!("a {told} …"), &format!("a {seen} b"), &mut ids).expect("it is as told");
    assert_eq!(ids.put_in(&format!("repair {told}")), format!("repair {seen}"));
    assert!(compare(&format!("{told} {other}"), &format!("{seen} {another}"), &mut ids).is_ok());
    assert!(compare(told, another, &mut ids).is_err());
    assert_eq!(ids.put_in("the key 0123456789abcdef"), "the key 0123456789abcdef", "the page has chosen it");
    assert!(compare("0123456789abcdef", "0123456789abcdee", &mut ids).is_err());
}
