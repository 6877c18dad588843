//! The values of settings: a text becomes a time, a size, a number, an address or a list.
//!
//! Every function gives the reason if the text does not fit. It does not repeat the text.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use strum::VariantNames;

use crate::domain::consistency::Kind;

/// A time above 0 with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        _ => Err("must be a time above 0 with its unit, such as 10s or 500ms".to_owned()),
    }
}

/// A time above 0 with its unit, or `off`.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        text => {
            duration(text).map(Some).map_err(|_| "must be a time above 0 with its unit, such as 72h, or off".to_owned())
        }
    }
}

/// A whole number above 0 that fits into a semaphore.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 && count <= tokio::sync::Semaphore::MAX_PERMITS => Ok(count),
        _ => Err("must be a whole number above 0".to_owned()),
    }
}

/// A number of bytes above 0, with or without a unit.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1024),
        "MiB" => Some(1024 * 1024),
        _ => None,
    };
    let size = factor.zip(digits.parse::<usize>().ok()).and_then(|(factor, number)| number.checked_mul(factor));
    size.filter(|&size| size > 0).ok_or_else(|| "must be a size above 0, such as 16384, 16KiB or 1MiB".to_owned())
}

/// One word of an enum.
pub(super) fn choice<T: FromStr + VariantNames>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("must be {}", T::VARIANTS.join(" or ")))
}

/// A list of kinds of findings that may be repaired without a person.
pub(super) fn safe_kinds(text: &str) -> Result<Vec<Kind>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let kind = |word| Kind::SAFE_TO_REPAIR.into_iter().find(|kind| kind.word() == word);
    words.map(kind).collect::<Option<_>>().ok_or_else(|| {
        let safe: Vec<_> = Kind::SAFE_TO_REPAIR.into_iter().map(Kind::word).collect();
        format!("must be a list of {}", safe.join(", "))
    })
}

/// The items of a list with commas.
fn items(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty())
}

/// A list of host names.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let is_name = |host: &String| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let all_names = items(text).all(|host| is_name(&host));
    all_names
        .then(|| items(text).collect())
        .ok_or_else(|| "must be host names without a port, such as line3.plant".to_owned())
}

/// A list of origins, as browsers send them.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
    };
    let all_origins = items(text).all(|origin| is_origin(&origin));
    all_origins.then(|| items(text).collect()).ok_or_else(|| "must be origins such as https://line3.plant".to_owned())
}

/// An IP address and a port; `localhost` is the IPv4 loopback address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let ip = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let problem = |_| "must be an IP address and a port, such as 127.0.0.1:8080".to_owned();
    ip.as_deref().unwrap_or(text).parse().map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_bytes_or_a_binary_unit() {
        for (text, bytes) in [("7", 7), ("7B", 7), ("2KiB", 2048), ("1 MiB", 1024 * 1024)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "1GB", "KiB", "-1", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
