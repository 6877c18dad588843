//! The demo: a service of its own, a dozen terminals on a bad network, and the proof, from
//! the log, that every part was counted once.
//!
//! The [`service`] is the real one, embedded, on a real socket. The [`network`] before it is
//! simulated: it loses, doubles and delays what the [`terminal`]s send. The [`tally`] notes
//! what happened, the [`view`] shows it, and the [`audit`] judges by the log alone. [`words`] are
//! English or Chinese.

pub mod audit;
mod network;
mod service;
mod tally;
mod terminal;
mod view;
pub mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::audit::Verdict;
use self::network::Network;
use self::service::{Folder, Service};
use self::tally::{Numbers, Tally};
use self::terminal::Terminal;
use self::view::{Picture, View};
use self::words::Language;
use crate::app;
use crate::config::BadConfig;

/// As many as stand along a line.
const TERMINALS: u64 = 12;
/// How often the picture changes.
const FRAME: Duration = Duration::from_millis(200);
/// How long the terminals may take at the end to settle what they have begun: each of them
/// has a part or two in hand, and tries about three times a second.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// The service answers 503 for a second before it stops; the rest is for its last commit.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How the demo is to go.
#[derive(Clone, Debug)]
pub struct Wish {
    /// For how long parts are made.
    pub time: Duration,
    /// What chance starts from: the same seed, the same misfortunes.
    pub seed: u64,
    /// Where the folder of the service is made, for as long as the demo lasts.
    pub folder: PathBuf,
    /// The language of the picture and the verdict.
    pub language: Language,
    /// Whether there are colours on stderr.
    pub colour: bool,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The folder can't be made.
    #[error("no folder for the demo's data in {0}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// Signals can't be heard, or there is no port.
    #[error("the machine has no signals or ports left")]
    Machine(#[from] std::io::Error),
    /// The defaults are refused.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// The service did not start, or ended.
    #[error("the service of the demo ended")]
    Service(#[from] app::Failure),
    /// The service does not answer.
    #[error("the service of the demo does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service does otherwise than it should.
    #[error("the service of the demo {0}")]
    Unexpected(String),
    /// The terminals did not come to an end.
    #[error("{0} parts are still not settled after {SETTLE_LIMIT:?}: no verdict")]
    Unsettled(u64),
    /// The user wants no verdict.
    #[error("stopped before the verdict")]
    Interrupted,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    wish: Wish,
    lasted: Duration,
    numbers: Numbers,
    verdict: Verdict,
}

/// Plays the demo: to the end of its time, or to the first signal; a second one ends it at once.
/// Its folder is gone afterwards, whatever came of it.
///
/// # Errors
/// See [`Failure`].
pub async fn run(wish: Wish) -> Result<Report, Failure> {
    let signals = Signals::hear()?;
    let folder = Folder::make(&wish.folder)?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = listener.local_addr()?;
    let service = Arc::new(Service::at(address)?);
    let stop = CancellationToken::new();
    let mut serving = pin!(app::serve_on(listener, service::config(address, &folder)?, stop.clone()));
    tokio::select! {
        ended = &mut serving => {
            ended?;
            Err(Failure::Unexpected("ended".to_owned()))
        }
        played = play(wish, &service, &signals) => {
            stop.cancel();
            drop(timeout(STOP_LIMIT, serving).await);
            played
        }
    }
}

impl Report {
    /// Whether every part was counted once.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.holds()
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let words = self.wish.language.words();
        let picture = Picture { words, colour };
        let mut lines = vec![(words.summary)(self.lasted.as_secs(), TERMINALS, self.wish.seed), String::new()];
        lines.extend(picture.numbers(&self.numbers, self.verdict.quantity));
        lines.push(String::new());
        lines.push(words.audit.to_owned());
        lines.push(String::new());
        lines.extend(picture.checks(&self.verdict));
        lines.push(String::new());
        lines.push(picture.conclusion(self.holds()));
        lines.join("\n")
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let Numbers {
            made,
            settled,
            sent,
            requests_lost,
            answers_lost,
            doubled,
            late,
            reached,
            repeats,
            scanned_twice,
            put_off,
        } = self.numbers;
        json!({
            "seconds": self.lasted.as_secs_f64(), "seed": self.wish.seed, "terminals": TERMINALS,
            "parts_made": made, "parts_settled": settled, "quantity": self.verdict.quantity, "naive_counter": reached,
            "requests_sent": sent, "requests_lost": requests_lost, "answers_lost": answers_lost,
            "delivered_twice": doubled, "delivered_late": late, "requests_reached": reached,
            "repeats_stopped": repeats, "scanned_twice_refused": scanned_twice, "put_off": put_off,
            "checks": self.verdict.checks(), "verdict": self.holds(),
        })
    }
}

async fn play(wish: Wish, service: &Arc<Service>, signals: &Signals) -> Result<Report, Failure> {
    service.plan().await?;
    let begun = Instant::now();
    let tally = Arc::new(Tally::default());
    let network = Network::new(Arc::clone(service), Arc::clone(&tally));
    let enough = CancellationToken::new();
    let mut terminals = JoinSet::new();
    for number in 1..=TERMINALS {
        let chance = StdRng::seed_from_u64(wish.seed.wrapping_mul(TERMINALS).wrapping_add(number));
        let terminal = Terminal::new(number, chance, network.clone(), Arc::clone(&tally));
        terminals.spawn(terminal.run(enough.clone()));
    }

    let view = View::start(&wish);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut time_is_up = pin!(sleep(wish.time));
    let mut limit = pin!(sleep(wish.time + SETTLE_LIMIT));
    let mut all_settled = pin!(async {
        while terminals.join_next().await.is_some() {}
        network.quiet().await;
    });
    loop {
        tokio::select! {
            () = &mut time_is_up, if !enough.is_cancelled() => enough.cancel(),
            () = signals.first.cancelled(), if !enough.is_cancelled() => {
                enough.cancel();
                limit.as_mut().reset(tokio::time::Instant::now() + SETTLE_LIMIT);
            }
            () = signals.second.cancelled() => return Err(Failure::Interrupted),
            () = &mut all_settled => break,
            () = &mut limit => return Err(Failure::Unsettled(tally.numbers().on_their_way())),
            _ = frames.tick() => view.show(begun.elapsed(), &tally.numbers(), service.quantity().await?),
        }
    }
    let numbers = tally.numbers();
    let verdict = audit::audit(&service.log().await?, service.quantity().await?, numbers.made);
    view.end();
    Ok(Report { lasted: begun.elapsed().min(wish.time), wish, numbers, verdict })
}

/// The user's wish to stop: the first to come to an end, the second to end at once.
struct Signals {
    first: CancellationToken,
    second: CancellationToken,
    task: JoinHandle<()>,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let wishes = [first.clone(), second.clone()];
        let task = tokio::spawn(async move {
            for wish in wishes {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                wish.cancel();
            }
        });
        Ok(Self { first, second, task })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}
