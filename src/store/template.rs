//! Fills the placeholders of a statement's text.
//!
//! A `.sql` file names a text that several statements share as `{name}`, such as the columns of a
//! row. The text is filled once, when its statement is first used.

/// The template with each `{name}` replaced by the part of this name. Other braces stay.
///
/// # Panics
/// If a placeholder has no part. Templates and parts are compiled in, so a test finds this.
pub(super) fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, behind)) => {
                let part = parts.iter().find(|(part, _)| *part == name);
                let (_, text) = part.unwrap_or_else(|| panic!("no part is named {name:?}"));
                filled.push_str(text);
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_placeholder_becomes_its_part_wherever_it_stands() {
        let parts = [("update", "u.seq, u.delta"), ("now", "'12:00'")];
        let filled = fill("select {update}, {now} from update_log u where u.at < {now}", &parts);
        assert_eq!(filled, "select u.seq, u.delta, '12:00' from update_log u where u.at < '12:00'");
        assert_eq!(fill("{now}", &parts), "'12:00'");
    }

    #[test]
    fn other_braces_stay() {
        for text in ["", "select '{}'::text[]", "select '{\"a\": 1}'", "select '{'"] {
            assert_eq!(fill(text, &[("a", "b")]), text);
        }
    }

    #[test]
    #[should_panic(expected = "no part is named \"updates\"")]
    fn a_placeholder_without_a_part_is_an_error() {
        fill("select {updates}", &[("update", "u.seq")]);
    }
}
