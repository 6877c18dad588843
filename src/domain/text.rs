//! Which text is accepted, and the canonical form in which texts are compared (contract, section 3).
//!
//! - Control characters and unassigned code points are refused.
//! - Lengths are checked as sent, and again in canonical form.
//! - The canonical form is NFKC without outer white space.
//!
//! So both stores can keep every accepted text: it has no NUL, and its length is bounded.

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Group separator. It separates the elements of a GS1 code.
const GS: char = '\u{1d}';

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// It is empty, perhaps only in canonical form.
    #[error("must not be empty")]
    Empty,
    /// It is too long, as sent or in canonical form.
    #[error("must be at most {0} characters, also in canonical form (NFKC)")]
    TooLong(usize),
    /// It has a control character.
    #[error("must not hold control characters")]
    Control,
    /// It has a code point that Unicode has not assigned yet. A later Unicode may change its canonical
    /// form.
    #[error("must not hold unassigned code points")]
    Unassigned,
}

/// Checks free text of at most `max` characters. It is kept as sent.
pub fn check(text: &str, max: usize) -> Result<(), BadText> {
    check_characters(text, max, |_| false)?;
    if !text.is_ascii() && text.nfkc().count() > max {
        return Err(BadText::TooLong(max));
    }
    Ok(())
}

/// Checks a code of at most `max` characters and returns its canonical form: NFKC, without white space at
/// its ends (also CR and LF). GS is allowed.
///
/// A CR or LF inside means that two codes came in one text. It is refused like any other control
/// character.
pub fn canonical(text: &str, max: usize) -> Result<String, BadText> {
    let core = text.trim_matches(is_outer);
    if text.chars().count() > max {
        return Err(BadText::TooLong(max));
    }
    check_characters(core, max, |c| c == GS)?;
    if core.is_ascii() {
        return Ok(core.to_owned());
    }
    let normal: String = core.nfkc().collect();
    let normal = normal.trim_matches(is_outer);
    if normal.chars().count() > max {
        return Err(BadText::TooLong(max));
    }
    Ok(normal.to_owned())
}

fn is_outer(c: char) -> bool {
    c.is_whitespace()
}

fn check_characters(text: &str, max: usize, allowed: impl Fn(char) -> bool) -> Result<(), BadText> {
    let mut length = 0;
    for c in text.chars() {
        length += 1;
        if c.is_control() && !allowed(c) {
            return Err(BadText::Control);
        }
        if !c.is_ascii() && c.general_category() == GeneralCategory::Unassigned {
            return Err(BadText::Unassigned);
        }
    }
    if length > max { Err(BadText::TooLong(max)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pitfall_30_what_a_scanner_varies_compares_equal() {
        for sent in ["WA2080ZWJ0926", " WA2080ZWJ0926\r\n", "ＷＡ２０８０ＺＷＪ０９２６", "\u{3000}WA2080ZWJ0926\t"]
        {
            assert_eq!(canonical(sent, 128).as_deref(), Ok("WA2080ZWJ0926"), "{sent:?}");
        }
        assert_eq!(canonical("01\u{1d}21", 128).as_deref(), Ok("01\u{1d}21"));
        assert_ne!(canonical("abc", 128), canonical("ABC", 128), "case tells codes apart");
    }

    #[test]
    fn pitfall_30_two_codes_run_together_are_refused() {
        for sent in ["A\r\nB", "A\nB", "A\tB", "A\0", "\u{85}A\u{0}"] {
            assert_eq!(canonical(sent, 128), Err(BadText::Control), "{sent:?}");
        }
    }

    #[test]
    fn pitfall_44_no_control_character_gets_in() {
        for c in (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32) {
            assert_eq!(check(&format!("a{c}b"), 64), Err(BadText::Control), "{c:?}");
        }
        assert_eq!(check("a\u{0378}", 64), Err(BadText::Unassigned));
    }

    #[test]
    fn pitfall_45_length_is_checked_after_normalization_too() {
        let one_becomes_eighteen = "\u{fdfa}".repeat(128);
        assert_eq!(canonical(&one_becomes_eighteen, 128), Err(BadText::TooLong(128)));
        assert_eq!(check(&"\u{fdfa}".repeat(64), 64), Err(BadText::TooLong(64)));
        assert_eq!(canonical(&format!("{:<129}", "A"), 128), Err(BadText::TooLong(128)));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(sent in any::<String>()) {
            if let Ok(form) = canonical(&sent, 128) {
                prop_assert_eq!(canonical(&form, 128), Ok(form.clone()));
            }
        }
    }
}
