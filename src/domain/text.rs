//! Which text is accepted, and the canonical form in which texts are compared (contract, section 3).
//!
//! - Control characters and unassigned code points are refused.
//! - Lengths are checked as sent, and again in canonical form.
//! - The canonical form has nothing that nobody can see, is in NFKC, and is trimmed.
//!
//! So both stores can keep every accepted text: it has no NUL, and its length is bounded.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

/// The separators of GS1 codes and of ISO/IEC 15434 labels: FS, GS, RS, US, EOT.
const SEPARATORS: [char; 5] = ['\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}', '\u{4}'];

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most characters.
    pub characters: usize,
    /// Most bytes in UTF-8, if that is a limit of its own.
    pub bytes: Option<usize>,
}

/// Which control characters a code may have inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// None.
    Nothing,
    /// FS, GS, RS, US and EOT.
    Separators,
}

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// It is empty, perhaps only in canonical form.
    #[error("must not be empty, or only of characters that nobody can see")]
    Empty,
    /// It has too many characters, as sent or in canonical form.
    #[error("must be at most {0} characters, also in canonical form (NFKC)")]
    TooLong(usize),
    /// It has too many bytes, as sent or in canonical form.
    #[error("must be at most {0} bytes in UTF-8, also in canonical form (NFKC)")]
    TooManyBytes(usize),
    /// It has a control character.
    #[error("must not hold control characters")]
    Control,
    /// It has a code point that Unicode has not assigned yet. A later Unicode may change its canonical
    /// form.
    #[error("must not hold unassigned code points")]
    Unassigned,
}

impl Limit {
    fn check(self, text: &str) -> Result<(), BadText> {
        match self.bytes {
            _ if text.chars().count() > self.characters => Err(BadText::TooLong(self.characters)),
            Some(bytes) if text.len() > bytes => Err(BadText::TooManyBytes(bytes)),
            _ => Ok(()),
        }
    }
}

/// Checks free text of at most `max` characters. It is kept as sent.
///
/// # Errors
/// If it is not accepted.
pub fn check(text: &str, max: usize) -> Result<(), BadText> {
    let limit = Limit { characters: max, bytes: None };
    limit.check(text)?;
    check_assigned(text)?;
    check_controls(text, Inside::Nothing)?;
    if !text.is_ascii() && text.nfkc().count() > max {
        return Err(BadText::TooLong(max));
    }
    Ok(())
}

/// Checks a code and returns its canonical form. It is computed once, from the text as sent.
///
/// A CR or LF inside means that two codes came in one text. It is refused like any other control
/// character.
///
/// # Errors
/// If it is not accepted.
pub fn canonical(text: &str, limit: Limit, inside: Inside) -> Result<String, BadText> {
    limit.check(text)?;
    check_assigned(text)?;
    let core = trimmed(text);
    if core.is_ascii() {
        check_controls(core, inside)?;
        return Ok(core.to_owned());
    }
    let normal = normal(core);
    let form = trimmed(&normal);
    check_controls(form, inside)?;
    limit.check(form)?;
    Ok(form.to_owned())
}

/// The text without white space and separators at its ends.
#[must_use]
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || SEPARATORS.contains(&c))
}

/// The text without what nobody can see, in NFKC. Each step can make room for the other one: a mark
/// joins its letter once the invisible character between them is gone, and NFKC makes an invisible
/// filler of a visible one. So both are repeated until nothing changes.
fn normal(text: &str) -> String {
    let mut form = text.to_owned();
    loop {
        let next: String = form.chars().filter(|&c| !is_invisible(c)).nfkc().collect();
        if next == form {
            return form;
        }
        form = next;
    }
}

/// Whether a character has no shape: it can be ignored by default, or it is a format character. Format
/// characters that enclose the digits after them can be seen.
fn is_invisible(c: char) -> bool {
    let is_format = || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format;
    let is_shown = || CodePointSetData::new::<PrependedConcatenationMark>().contains(c);
    !c.is_ascii() && (CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || is_format() && !is_shown())
}

fn check_assigned(text: &str) -> Result<(), BadText> {
    if text.is_ascii() {
        return Ok(());
    }
    let categories = CodePointMapData::<GeneralCategory>::new();
    let is_unassigned = |c: char| categories.get(c) == GeneralCategory::Unassigned;
    if text.chars().any(is_unassigned) { Err(BadText::Unassigned) } else { Ok(()) }
}

fn check_controls(text: &str, inside: Inside) -> Result<(), BadText> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    let is_allowed = |c: char| inside == Inside::Separators && SEPARATORS.contains(&c);
    match text.chars().any(|c| c.is_control() && !is_allowed(c)) {
        true => Err(BadText::Control),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { characters: 128, bytes: None };

    #[test]
    fn a_mark_joins_its_letter_over_what_nobody_can_see() {
        let form = canonical("e\u{200b}\u{301}", LIMIT, Inside::Nothing);
        assert_eq!(form.as_deref(), Ok("é"));
    }

    #[test]
    fn pitfall_44_no_control_character_gets_in() {
        for c in (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            assert_eq!(check(&text, 64), Err(BadText::Control), "{c:?}");
            let is_separator = SEPARATORS.contains(&c);
            assert_eq!(canonical(&text, LIMIT, Inside::Separators).is_ok(), is_separator, "{c:?}");
            assert_eq!(canonical(&text, LIMIT, Inside::Nothing), Err(BadText::Control), "{c:?}");
        }
        assert_eq!(check("a\u{0378}", 64), Err(BadText::Unassigned));
        assert_eq!(canonical("a\u{0378}", LIMIT, Inside::Nothing), Err(BadText::Unassigned));
    }

    #[test]
    fn pitfall_45_free_text_is_measured_after_normalization_too() {
        assert_eq!(check(&"\u{fdfa}".repeat(64), 64), Err(BadText::TooLong(64)));
        assert_eq!(check(&"a".repeat(65), 64), Err(BadText::TooLong(64)));
        assert_eq!(check(&"工".repeat(64), 64), Ok(()));
    }
}
