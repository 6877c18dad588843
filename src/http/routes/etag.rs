//! Entity tags of work orders: `ETag`, `If-Match` and `If-None-Match`.
//!
//! By hand: a tag is a revision, and a weak tag or one of another origin must match nothing.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};

use crate::domain::ids::Revision;
use crate::domain::work_order::Precondition;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

/// The header `ETag` of a revision.
pub(super) fn header_of(revision: Revision) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", tag_of(revision))).expect("hexadecimal digits are ASCII")
}

/// What `If-Match` and `If-None-Match` ask for (RFC 9110, sections 13.1.1 and 13.1.2). Only one of them
/// may be sent.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let wanted = if_match(headers)?;
    let mut absent = headers.get_all(IF_NONE_MATCH).iter();
    match (absent.next(), absent.next()) {
        (None, _) => Ok(wanted),
        (Some(star), None) if star.as_bytes().trim_ascii() == b"*" && wanted == Precondition::None => {
            Ok(Precondition::Absent)
        }
        _ => Err(Problem::new(Code::MalformedRequest, "If-None-Match must be *, without If-Match beside it")),
    }
}

/// What `If-Match` asks for. A weak tag never matches, and a tag that the service did not make matches
/// nothing.
fn if_match(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let lines: Result<Vec<&str>, _> = headers.get_all(IF_MATCH).iter().map(HeaderValue::to_str).collect();
    let malformed = || Problem::new(Code::MalformedRequest, "If-Match must be * or a list of quoted entity tags");
    let lines = lines.map_err(|_| malformed())?;
    match lines.as_slice() {
        [] => return Ok(Precondition::None),
        [star] if star.trim() == "*" => return Ok(Precondition::Exists),
        _ => {}
    }
    let mut revisions = Vec::new();
    let mut tags = 0;
    for line in lines {
        let mut rest = line.trim();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
                continue;
            }
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
            let (tag, after) = quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(malformed)?;
            rest = after.trim_start();
            if tag.contains(' ') || !(rest.is_empty() || rest.starts_with(',')) {
                return Err(malformed());
            }
            tags += 1;
            revisions.extend(revision_of_tag(tag).filter(|_| !weak));
        }
    }
    if tags == 0 { Err(malformed()) } else { Ok(Precondition::AnyOf(revisions)) }
}

/// The entity tag of a revision: the number's bits in hexadecimal.
fn tag_of(revision: Revision) -> String {
    format!("{:016x}", revision.0.cast_unsigned())
}

fn revision_of_tag(tag: &str) -> Option<Revision> {
    let revision = Revision(u64::from_str_radix(tag, 16).ok()?.cast_signed());
    (tag_of(revision) == tag).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_a_star_or_a_list_of_tags() {
        let any_of = |revisions: &[i64]| Ok(Precondition::AnyOf(revisions.iter().copied().map(Revision).collect()));
        let malformed = Err(Code::MalformedRequest);
        for (sent, expected) in [
            (&[][..], Ok(Precondition::None)),
            (&["*"], Ok(Precondition::Exists)),
            (&["\"000000000000002a\""], any_of(&[42])),
            (&["\"ffffffffffffffff\", \"000000000000002a\""], any_of(&[-1, 42])),
            (&["\"ffffffffffffffff\"", " , \"000000000000002a\" ,"], any_of(&[-1, 42])),
            (&["W/\"000000000000002a\""], any_of(&[])),
            (&["\"2a\""], any_of(&[])),
            (&["\"\", \"a,b\""], any_of(&[])),
            (&[""], malformed.clone()),
            (&["000000000000002a"], malformed.clone()),
            (&["\"000000000000002a"], malformed.clone()),
            (&["\"a\" \"b\""], malformed.clone()),
            (&["\"a b\""], malformed.clone()),
            (&["*, \"a\""], malformed.clone()),
        ] {
            let mut headers = HeaderMap::new();
            for line in sent {
                headers.append(IF_MATCH, line.parse().unwrap());
            }
            assert_eq!(precondition(&headers).map_err(|problem| problem.code), expected, "{sent:?}");
        }
    }

    #[test]
    fn if_none_match_takes_a_star_alone() {
        let precondition = |lines: &[(axum::http::HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value.parse().unwrap());
            }
            precondition(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(precondition(&[(IF_NONE_MATCH, "*")]), Ok(Precondition::Absent));
        for lines in [
            &[(IF_NONE_MATCH, "\"000000000000002a\"")][..],
            &[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, "*")],
            &[(IF_NONE_MATCH, "*"), (IF_MATCH, "*")],
        ] {
            assert_eq!(precondition(lines), Err(Code::MalformedRequest), "{lines:?}");
        }
    }
}
