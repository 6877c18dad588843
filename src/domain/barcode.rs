//! Barcodes and steps, as sent and in canonical form, and the pattern that a work order's barcodes match.

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::text::{self, BadText, Inside, Limit};

/// A barcode, as sent and in canonical form. Barcodes are compared in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barcode {
    /// As the terminal sent it.
    pub sent: String,
    /// In canonical form, without an AIM symbology identifier.
    pub canonical: String,
}

impl Barcode {
    /// Longest barcode, as sent and in canonical form. Index rows that hold one stay below 2 704 bytes,
    /// which is PostgreSQL's limit (a third of a page).
    pub const LIMIT: Limit = Limit { characters: 512, bytes: Some(1024) };

    /// Reads a barcode.
    ///
    /// # Errors
    /// If it can't be a barcode.
    pub fn parse(sent: &str) -> Result<Self, BadText> {
        let form = text::canonical(sent, Self::LIMIT, Inside::Separators)?;
        let canonical = match without_symbology(&form) {
            None => form,
            Some(rest) => text::trimmed(rest).to_owned(),
        };
        if canonical.is_empty() {
            return Err(BadText::Empty);
        }
        Ok(Self { sent: sent.to_owned(), canonical })
    }
}

/// The rest of a code that begins with an AIM symbology identifier (ISO/IEC 15424): `]`, a letter, a
/// letter or digit. Some scanners send it before the code, others do not.
fn without_symbology(form: &str) -> Option<&str> {
    let rest = form.strip_prefix(']')?.strip_prefix(|c: char| c.is_ascii_alphabetic())?;
    rest.strip_prefix(|c: char| c.is_ascii_alphanumeric())
}

/// A production step, as sent and in canonical form. Steps are compared in canonical form. No step is
/// `""`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// As the terminal sent it.
    pub sent: String,
    /// In canonical form.
    pub canonical: String,
}

impl Step {
    /// Longest step, as sent and in canonical form.
    pub const LIMIT: Limit = Limit { characters: 64, bytes: None };

    /// Reads a step. One that nobody can see is no step.
    ///
    /// # Errors
    /// If it can't be a step.
    pub fn parse(sent: &str) -> Result<Self, BadText> {
        let canonical = text::canonical(sent, Self::LIMIT, Inside::Nothing)?;
        let sent = if canonical.is_empty() { String::new() } else { sent.to_owned() };
        Ok(Self { sent, canonical })
    }
}

/// The regular expression that the barcodes of a work order's scans match, whole and in canonical form.
///
/// It is compiled once, when it is first needed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BarcodePattern {
    text: Arc<str>,
    #[serde(skip)]
    compiled: Arc<OnceLock<Option<Regex>>>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPattern {
    /// It is too long.
    #[error("must be at most {} characters", BarcodePattern::LONGEST)]
    TooLong,
    /// It is empty.
    #[error("must not be empty; leave it out, or send null, to accept every barcode")]
    Empty,
    /// It has characters that no field takes. A separator is written as `\x1D`.
    #[error(transparent)]
    Text(#[from] BadText),
    /// It is no regular expression.
    #[error("is not a regular expression: {0}")]
    Syntax(String),
    /// It needs too much memory.
    #[error("is too large when it is compiled (64 KiB); write [0-9] for \\d and [0-9A-Za-z] for \\w, and repeat less")]
    TooLarge,
}

impl BarcodePattern {
    /// Longest pattern, in characters.
    pub const LONGEST: usize = 256;
    /// Most memory of the compiled pattern, in bytes.
    const SIZE: usize = 64 * 1024;

    /// Reads a pattern: a regular expression of the `regex` crate, which needs time in proportion to the
    /// barcode's length only.
    ///
    /// # Errors
    /// If it is no pattern.
    pub fn parse(text: &str) -> Result<Self, NotAPattern> {
        if text.chars().count() > Self::LONGEST {
            return Err(NotAPattern::TooLong);
        }
        if text.trim().is_empty() {
            return Err(NotAPattern::Empty);
        }
        text::check(text, Self::LONGEST)?;
        // Alone first: `a)(b` is none, though it would be one within the parentheses.
        compile(text)?;
        let compiled = OnceLock::from(Some(compile(&whole(text))?));
        Ok(Self { text: text.into(), compiled: Arc::new(compiled) })
    }

    /// The pattern as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a barcode in canonical form matches it, from its first to its last character.
    ///
    /// A pattern that does not compile matches everything: [`BarcodePattern::parse`] refuses it, so
    /// somebody else has written it into the table, and scans are not lost for that.
    #[must_use]
    pub fn matches(&self, canonical: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&whole(&self.text)).ok());
        compiled.as_ref().is_none_or(|pattern| pattern.is_match(canonical))
    }
}

fn whole(text: &str) -> String {
    format!("^(?:{text})$")
}

fn compile(text: &str) -> Result<Regex, NotAPattern> {
    RegexBuilder::new(text).size_limit(BarcodePattern::SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => NotAPattern::TooLarge,
        // Its last line says what is wrong; the lines before it draw the pattern.
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            NotAPattern::Syntax(reason.strip_prefix("error: ").unwrap_or(reason).to_owned())
        }
    })
}

impl PartialEq for BarcodePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for BarcodePattern {}

impl fmt::Debug for BarcodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(sent: &str) -> Result<String, BadText> {
        Barcode::parse(sent).map(|barcode| barcode.canonical)
    }

    #[test]
    fn pitfall_30_what_a_scanner_varies_compares_equal() {
        for sent in ["WA2080ZWJ0926", " WA2080ZWJ0926\r\n", "ＷＡ２０８０ＺＷＪ０９２６", "\u{3000}WA2080ZWJ0926\t"]
        {
            assert_eq!(canonical(sent).as_deref(), Ok("WA2080ZWJ0926"), "{sent:?}");
        }
        assert_ne!(canonical("abc"), canonical("ABC"), "case tells codes apart");
    }

    #[test]
    fn pitfall_73_what_nobody_can_see_tells_no_codes_apart() {
        for unseen in [
            '\u{feff}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200f}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{ad}',
            '\u{2060}',
            '\u{34f}',
            '\u{115f}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{180e}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{2066}',
            '\u{fff9}',
            '\u{e0041}',
        ] {
            for sent in
                [format!("{unseen}WA2080ZWJ0926"), format!("WA2080{unseen}ZWJ0926"), format!("WA2080ZWJ0926{unseen}\r")]
            {
                assert_eq!(canonical(&sent).as_deref(), Ok("WA2080ZWJ0926"), "{unseen:?}");
            }
            assert_eq!(canonical(&unseen.to_string()), Err(BadText::Empty), "{unseen:?}");
            assert_eq!(Step::parse(&format!("P0{unseen}10")).unwrap().canonical, "P010");
        }
        // These can be seen: they enclose the digits that follow.
        assert_ne!(canonical("\u{600}1"), canonical("1"));
    }

    #[test]
    fn pitfall_74_outer_separators_and_the_kind_of_symbol_tell_no_codes_apart() {
        for sent in [
            "010460123\u{1d}21ABC",
            "\u{1d}010460123\u{1d}21ABC",
            "]C1010460123\u{1d}21ABC",
            "]d2010460123\u{1d}21ABC",
            "]Q3\u{1d}010460123\u{1d}21ABC",
            "\u{feff}\u{1d}010460123\u{1d}21ABC",
            "\u{1e} ]C1 010460123\u{1d}21ABC \u{4}",
            "010460123\u{1d}21ABC\u{1d}",
            "010460123\u{1d}21ABC\u{1c}\u{1e}\u{1f}\u{4}\r\n",
            "］Ｃ１010460123\u{1d}21ABC",
        ] {
            assert_eq!(canonical(sent).as_deref(), Ok("010460123\u{1d}21ABC"), "{sent:?}");
        }
        assert_eq!(canonical("]C1]C1X").as_deref(), Ok("]C1X"), "one is taken off");
        for kept in ["]", "]1", "]C", "]1C", "]é1X", "[C1X", "X]C1"] {
            assert_eq!(canonical(kept).as_deref(), Ok(kept));
        }
        for empty in ["\u{1d}", "]C1", " ]d2\u{1d}\r", "\u{200b}\u{1e}"] {
            assert_eq!(canonical(empty), Err(BadText::Empty), "{empty:?}");
        }
    }

    #[test]
    fn pitfall_75_labels_of_two_dimensional_codes_are_barcodes() {
        let label = "[)>\u{1e}06\u{1d}PWA2080\u{1d}SZWJ0926\u{1e}\u{4}";
        assert_eq!(canonical(label).as_deref(), Ok("[)>\u{1e}06\u{1d}PWA2080\u{1d}SZWJ0926"));
        for length in [129, 177, 512] {
            assert_eq!(canonical(&"7".repeat(length)).map(|form| form.len()), Ok(length));
        }
        assert_eq!(canonical(&"7".repeat(513)), Err(BadText::TooLong(512)));
    }

    #[test]
    fn pitfall_45_length_is_checked_in_bytes_and_after_normalization_too() {
        assert_eq!(canonical(&"工".repeat(341)).map(|form| form.len()), Ok(1023));
        assert_eq!(canonical(&"工".repeat(342)), Err(BadText::TooManyBytes(1024)));
        assert_eq!(canonical(&"\u{fdfa}".repeat(60)), Err(BadText::TooLong(512)));
        assert_eq!(canonical(&format!("{:<513}", "A")), Err(BadText::TooLong(512)));
        assert_eq!(Step::parse(&"\u{fdfa}".repeat(64)), Err(BadText::TooLong(64)));
    }

    #[test]
    fn pitfall_30_two_codes_run_together_are_refused() {
        for sent in ["A\r\nB", "A\nB", "A\tB", "A\0", "\u{85}A\u{0}", "A\u{200b}\n\u{200b}B"] {
            assert_eq!(canonical(sent), Err(BadText::Control), "{sent:?}");
        }
        assert_eq!(Step::parse("P\u{1d}010"), Err(BadText::Control), "a step has no separators");
        assert_eq!(Step::parse("\u{1d}P010\u{4}").unwrap().canonical, "P010");
    }

    #[test]
    fn a_step_that_nobody_can_see_is_no_step() {
        for sent in ["", "  ", "\u{feff}", "\u{1d}"] {
            assert_eq!(Step::parse(sent), Ok(Step::default()), "{sent:?}");
        }
    }

    #[test]
    fn pitfall_76_a_pattern_tells_a_part_from_a_badge_half_a_scan_and_two_codes() {
        let pattern = BarcodePattern::parse("WA[0-9]{4}ZWJ[0-9]{4}|X").unwrap();
        let matching = ["WA2080ZWJ0926", "X"];
        let others = ["E1024", "WA2080ZWJ09", "WA2080ZWJ0926WA2080ZWJ0927", "WA2080ZWJ0926 ", "X\n", ""];
        for (barcode, matches) in matching.map(|code| (code, true)).into_iter().chain(others.map(|code| (code, false)))
        {
            assert_eq!(pattern.matches(barcode), matches, "{barcode:?}");
        }
        let read: BarcodePattern = serde_json::from_value(serde_json::to_value(&pattern).unwrap()).unwrap();
        assert_eq!((read.matches("X"), read.matches("Y"), read == pattern), (true, false, true));
    }

    #[test]
    fn a_text_that_is_no_pattern_says_why() {
        let long = "a".repeat(257);
        for (text, reason) in [
            ("", "must not be empty"),
            (long.as_str(), "at most 256 characters"),
            ("a)(b", "unopened group"),
            ("[", "unclosed character class"),
            ("(?x)a # b", "unclosed group"),
            ("a(?=b)", "look-around"),
            (r"\w{200}", "too large when it is compiled"),
        ] {
            let error = BarcodePattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_of_a_step_is_its_own_canonical_form(sent in odd_text(64)) {
            if let Ok(step) = Step::parse(&sent) {
                prop_assert_eq!(Step::parse(&step.canonical).map(|again| again.canonical), Ok(step.canonical));
            }
        }

        #[test]
        fn but_for_its_symbology_the_canonical_form_of_a_barcode_is_its_own(sent in odd_text(512)) {
            if let Ok(barcode) = Barcode::parse(&sent) {
                let form = text::canonical(&barcode.canonical, Barcode::LIMIT, Inside::Separators);
                prop_assert_eq!(form.as_deref(), Ok(barcode.canonical.as_str()));
                let again = Barcode::parse(&format!("]C1\u{feff}{}\u{1d}", barcode.canonical));
                prop_assert_eq!(again.map(|again| again.canonical), Ok(barcode.canonical));
            }
        }
    }

    /// Text in which the characters that make trouble are frequent.
    fn odd_text(most: usize) -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            'e',
            '1',
            ']',
            'C',
            ' ',
            '\r',
            '\u{1d}',
            '\u{4}',
            '\u{200b}',
            '\u{301}',
            '\u{323}',
            '\u{feff}',
            '\u{ad}',
            '\u{b4}',
            '\u{ffa0}',
            '\u{1160}',
            '\u{1100}',
            '\u{1161}',
            '\u{ff3d}',
            '\u{fdfa}',
            '\u{600}',
            '\u{3000}',
            '\u{34f}',
            '\u{fe0f}',
            '\u{17b4}',
            '\u{1d173}',
        ]);
        let character = prop_oneof![3 => odd, 1 => any::<char>()];
        prop::collection::vec(character, 0..most.min(24)).prop_map(|characters| characters.into_iter().collect())
    }
}
