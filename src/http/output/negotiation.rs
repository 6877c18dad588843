//! Which form of an answer the caller prefers: `Accept` and `Accept-Language` (RFC 9110, section 12).
//!
//! By hand: the crates for this read the header, but don't choose among our own offers.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, HeaderName};

/// The offer that a header like `Accept` prefers; `None` if it accepts no offer. `matches` says how
/// closely a range of the header fits an offer. Among equal offers, the caller's order decides, and
/// then ours.
pub(super) fn preferred<'a, T>(
    headers: &HeaderMap,
    name: HeaderName,
    offers: &'a [T],
    matches: impl Fn(&T, &str) -> Option<u8>,
) -> Option<&'a T> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(&str, f32)> = lines.flat_map(|line| line.split(',')).filter_map(range).collect();
    let mut best: Option<(&T, f32, usize)> = None;
    for offer in offers {
        let fits = ranges.iter().enumerate().filter_map(|(at, &(range, q))| Some((matches(offer, range)?, at, q)));
        // The closest range counts, at the first place where it is listed.
        let Some((_, at, q)) = fits.max_by_key(|&(closeness, at, _)| (closeness, std::cmp::Reverse(at))) else {
            continue;
        };
        let better = best.is_none_or(|(_, best_q, best_at)| q > best_q || (q == best_q && at < best_at));
        if q > 0.0 && better {
            best = Some((offer, q, at));
        }
    }
    best.map(|(offer, ..)| offer)
}

/// Whether the caller prefers CSV to JSON.
pub(in crate::http) fn wants_csv(headers: &HeaderMap) -> bool {
    let offers = [("application", "json"), ("text", "csv")];
    let wanted = preferred(headers, ACCEPT, &offers, |(kind, subtype), range| {
        let (range_kind, range_subtype) = range.split_once('/')?;
        let same = |range: &str, part: &str| range.eq_ignore_ascii_case(part);
        match (range_kind, range_subtype) {
            ("*", "*") => Some(0),
            (range_kind, "*") => same(range_kind, kind).then_some(1),
            (range_kind, range_subtype) => (same(range_kind, kind) && same(range_subtype, subtype)).then_some(2),
        }
    });
    wanted == Some(&offers[1])
}

/// One range and its quality; `None` if it can't be read.
fn range(text: &str) -> Option<(&str, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    match quality {
        None => Some((range, 1.0)),
        Some(q) => q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).map(|q| (range, q)),
    }
}
