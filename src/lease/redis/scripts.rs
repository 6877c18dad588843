//! The scripts that Redis runs, and how their answers are read.

use std::time::Duration;

use super::connection::Script;
use crate::domain::ids::{Fence, Owner};
use crate::lease::View;

/// The scripts. Those that need it have the text that they share before their own.
pub(super) struct Scripts {
    pub(super) grant: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) view: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            grant: Script::new(concat!(include_str!("waiting.lua"), include_str!("grant.lua"))),
            renew: Script::new(concat!(include_str!("waiting.lua"), include_str!("renew.lua"))),
            release: Script::new(concat!(include_str!("waiting.lua"), include_str!("release.lua"))),
            view: Script::new(include_str!("view.lua")),
        }
    }
}

/// What `grant.lua` answered.
pub(super) enum Grant {
    Granted { fence: Fence, others_wait: bool },
    Busy,
}

impl Grant {
    pub(super) fn read(answer: Option<&[String]>) -> Option<Self> {
        match answer? {
            [word, fence, waiting] if word == "granted" => {
                Some(Self::Granted { fence: Fence(fence.parse().ok()?), others_wait: waiting != "0" })
            }
            [word, _holder] if word == "busy" => Some(Self::Busy),
            _ => None,
        }
    }
}

/// Reads what `view.lua` answered; `None`: nobody holds the lease.
pub(super) fn read_view(answer: &[String]) -> Option<View> {
    let [holder, fence, left] = answer else { return None };
    Some(View {
        holder: Owner::named(holder),
        fence: Fence(fence.parse().ok()?),
        expires_in: left.parse().ok().map(Duration::from_millis),
    })
}

/// Whole milliseconds, as Redis takes times. At least one, since 0 is an error there.
pub(super) fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}
