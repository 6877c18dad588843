//! The outbox of alarms: when the next message of a channel may be sent, and what follows.
//!
//! Each channel has a queue of messages. Only the first one is sent, and it is retried until it is
//! delivered or too old. So "resolved" never arrives before "firing".

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::alarm::Notice;
use super::time::{SKEW, Timestamp};

/// How long a process may send after it claimed a channel. No attempt takes as long, so a claim
/// runs out only if the process died.
pub const CLAIM: Duration = Duration::from_secs(60);
/// The pause after the first failed attempt. Each further failure doubles it, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// The longest pause that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// A message that was not delivered for this long is dropped, because it is no longer useful.
pub const TOO_OLD: Duration = Duration::from_secs(24 * 3600);

/// One message of a channel: a row of `alarm_messages`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its place in the queue.
    pub position: i64,
    /// Its id. It is the same in all attempts.
    pub message_id: String,
    /// What it is about.
    pub notice: Notice,
    /// When it was put into the queue.
    pub created_at: Timestamp,
    /// Attempts that failed so far.
    pub attempts: i64,
}

/// The state of a channel: a row of `alarm_channels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// The process that may send.
    pub claimed_by: Option<String>,
    /// Until when it may send.
    pub claimed_until: Option<Timestamp>,
    /// Until when the messages sent so far use up the rate.
    pub paced_until: Option<Timestamp>,
    /// Failed attempts in a row.
    pub failures: i64,
    /// Since when attempts fail.
    pub failing_since: Option<Timestamp>,
    /// When the next attempt may be made.
    pub next_attempt_at: Option<Timestamp>,
    /// The error of the last failed attempt.
    pub last_error: Option<String>,
    /// When a message was last delivered.
    pub last_delivered_at: Option<Timestamp>,
}

/// How fast messages may follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The time per message, on average.
    pub every: Duration,
    /// How many messages may follow at once after a pause.
    pub burst: u32,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It was dropped: it was too old, or too many waited.
    Dropped,
}

impl Outcome {
    /// The word in tables and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl ChannelState {
    /// The state after `process` claimed the next message; `None`: it may not be sent now.
    #[must_use]
    pub fn claim(&self, process: &str, pace: Pace, now: Timestamp) -> Option<Self> {
        // A time that is further ahead than any process writes comes from a clock that was wrong.
        let ahead = |time: Option<Timestamp>, longest: Duration| {
            time.filter(|time| *time > now && *time <= now.later(longest.saturating_add(SKEW)))
        };
        let burst = pace.every.saturating_mul(pace.burst.saturating_sub(1));
        let paced_until = ahead(self.paced_until, burst.saturating_add(pace.every)).unwrap_or(now);
        let waits = ahead(self.claimed_until, CLAIM).or(ahead(self.next_attempt_at, LONGEST_ASKED)).is_some();
        let may = !waits && paced_until <= now.later(burst);
        may.then(|| Self {
            claimed_by: Some(process.to_owned()),
            claimed_until: Some(now.later(CLAIM)),
            paced_until: Some(paced_until.later(pace.every)),
            ..self.clone()
        })
    }

    /// Whether `process` may still send.
    #[must_use]
    pub fn is_claimed_by(&self, process: &str) -> bool {
        self.claimed_by.as_deref() == Some(process)
    }

    /// The state after the first message was delivered.
    #[must_use]
    pub fn delivered(&self, now: Timestamp) -> Self {
        Self { paced_until: self.paced_until, last_delivered_at: Some(now), ..Self::default() }
    }

    /// The state after an attempt failed. `chance` from 0 to 1 spreads the attempts of many channels.
    /// `asked` is the pause that the receiver asked for.
    #[must_use]
    pub fn failed(&self, error: &str, asked: Option<Duration>, chance: f64, now: Timestamp) -> Self {
        let doubled = u32::try_from(self.failures.clamp(0, 16)).expect("it is clamped");
        let pause =
            FIRST_PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let pause = pause.max(asked.unwrap_or_default().min(LONGEST_ASKED));
        Self {
            claimed_by: None,
            claimed_until: None,
            failures: self.failures + 1,
            failing_since: self.failing_since.or(Some(now)),
            next_attempt_at: Some(now.later(pause)),
            last_error: Some(error.to_owned()),
            ..self.clone()
        }
    }

    /// The state after the first message was dropped. The next one may be sent at once.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { claimed_by: None, claimed_until: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { every: Duration::from_secs(4), burst: 4 };

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_millis(milliseconds))
    }

    #[test]
    fn the_rate_holds_in_every_minute() {
        let mut line = ChannelState::default();
        let mut sent = Vec::new();
        for now in (0..600_000).step_by(100) {
            if let Some(claimed) = line.claim("p", PACE, at(now)) {
                line = claimed.delivered(at(now));
                sent.push(now);
            }
        }
        let most =
            sent.iter().map(|&from| sent.iter().filter(|&&at| (from..from + 60_000).contains(&at)).count()).max();
        assert_eq!(most, Some(4 + 60 / 4 - 1), "of 20 that a sender allows");
        assert!(sent.len() > 140, "and it goes on: {}", sent.len());
    }

    #[test]
    fn one_process_sends_at_a_time_until_its_claim_runs_out() {
        let line = ChannelState::default().claim("p", PACE, at(0)).unwrap();
        assert!(line.is_claimed_by("p") && !line.is_claimed_by("q"));
        assert_eq!(line.claim("q", PACE, at(59_999)), None);
        assert!(line.claim("q", PACE, at(60_000)).unwrap().is_claimed_by("q"));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_up_no_message() {
        let hours = 2 * 3600 * 1000;
        let ahead = ChannelState::default().claim("p", PACE, at(hours)).unwrap();
        assert!(ahead.claim("q", PACE, at(0)).is_some(), "the claim is from later than now");
        let failed = ahead.failed("no", None, 1.0, at(hours));
        assert!(failed.claim("q", PACE, at(0)).is_some());
        let skewed = ChannelState::default().claim("p", PACE, at(59_000)).unwrap();
        assert_eq!(skewed.claim("q", PACE, at(0)), None, "clocks may differ");
    }

    #[test]
    fn attempts_come_ever_more_rarely_and_never_stop() {
        let (mut line, mut now) = (ChannelState::default(), 0);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let claimed = line.claim("p", PACE, at(now)).expect("the pause is over");
            line = claimed.failed("no", None, 1.0, at(now));
            let pause = line.next_attempt_at.unwrap().since(at(now));
            assert_eq!(line.claim("p", PACE, at(now)), None, "not before the pause is over");
            pauses.push(pause.as_secs());
            now += u64::try_from(pause.as_millis()).unwrap();
        }
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[39], 900);
        assert_eq!(line.failing_since, Some(at(0)));
        assert_eq!(line.claim("p", PACE, at(now)).unwrap().delivered(at(now)).failures, 0);
    }

    #[test]
    fn chance_spreads_the_attempts_and_a_receiver_may_ask_for_more() {
        let pause = |chance, asked: Option<u64>| {
            let failed = ChannelState::default().failed("no", asked.map(Duration::from_secs), chance, at(0));
            failed.next_attempt_at.unwrap().since(at(0)).as_millis()
        };
        assert_eq!((pause(0.0, None), pause(0.5, None), pause(1.0, None)), (2500, 3750, 5000));
        assert_eq!(pause(0.0, Some(30)), 30_000);
        assert_eq!(pause(0.0, Some(999_999)), 3_600_000);
    }
}
