//! A virtual terminal. It scans one part after another, and sends each scan until it is answered.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::exchange::{Answer, Destination, PATIENCE, Scan};
use super::network::{Fate, Network};
use super::tally::Tally;

/// The pauses before a retry and between two parts, in milliseconds.
const BEFORE_RETRY: std::ops::Range<u64> = 30..150;
const BETWEEN_PARTS: std::ops::Range<u64> = 200..900;
/// How often a part that is counted is scanned again by mistake.
const SCANNED_TWICE: f64 = 0.04;

/// A terminal.
pub struct Terminal<D> {
    name: String,
    chance: StdRng,
    network: Network<D>,
    tally: Arc<Tally>,
}

impl<D: Destination> Terminal<D> {
    /// A terminal with its own random numbers.
    pub fn new(number: u64, chance: StdRng, network: Network<D>, tally: Arc<Tally>) -> Self {
        Self { name: format!("t{number:02}"), chance, network, tally }
    }

    /// Scans until `enough`, and then completes the scan that it started.
    pub async fn run(mut self, enough: CancellationToken) {
        while !enough.is_cancelled() {
            let part = self.tally.note(|numbers| {
                numbers.made += 1;
                numbers.made
            });
            let barcode = format!("PART-{part:06}");
            self.settle(&barcode).await;
            self.tally.note(|numbers| numbers.settled += 1);
            if self.chance.random_bool(SCANNED_TWICE) {
                // A new scan with a new request id. Only the barcode shows that it is the same part.
                self.settle(&barcode).await;
            }
            let pause = Duration::from_millis(self.chance.random_range(BETWEEN_PARTS));
            tokio::select! {
                () = sleep(pause) => {}
                () = enough.cancelled() => {}
            }
        }
    }

    /// Sends one scan under one request id until it gets a final answer.
    async fn settle(&mut self, barcode: &str) {
        let request_id = Uuid::now_v7().to_string();
        let scan = Scan { request_id, barcode: barcode.to_owned(), terminal: self.name.clone() };
        let (reply, mut answers) = unbounded_channel();
        loop {
            self.network.send(&scan, Fate::draw(&mut self.chance), &reply);
            // An answer to an earlier attempt counts, too.
            match timeout(PATIENCE, answers.recv()).await {
                Ok(Some(Answer::Counted | Answer::CountedBefore)) => return,
                Ok(Some(Answer::NotNow) | None) | Err(_) => {}
            }
            sleep(Duration::from_millis(self.chance.random_range(BEFORE_RETRY))).await;
        }
    }
}
