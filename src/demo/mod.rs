//! The demo: a service, a dozen terminals on a bad network, and the proof from the log that every
//! part was counted once.
//!
//! The [`service`] is the real one, with the embedded database, on a real socket. The [`network`] is
//! simulated: it loses, doubles and delays what the [`terminal`]s send ([`exchange`]). The [`tally`]
//! counts what happened, and the [`view`] shows it. The [`audit`] uses the log alone. The [`words`]
//! are English or Chinese.

pub mod audit;
mod exchange;
mod failure;
mod network;
mod options;
mod service;
mod tally;
mod terminal;
mod view;
pub mod words;

use std::net::{Ipv4Addr, SocketAddr};
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
pub use self::failure::Failure;
use self::network::Network;
pub use self::options::Options;
use self::options::TERMINALS;
use self::service::{Folder, Service};
use self::tally::{Numbers, Tally};
use self::terminal::Terminal;
use self::view::{Picture, View};
use crate::app;

/// The time between two pictures.
const FRAME: Duration = Duration::from_millis(200);
/// How long the terminals may take at the end to get the last answers. Each of them has one or two
/// parts left, and sends about three times a second.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// How long the service may take to stop. It answers 503 for a second; the rest is for its last commit.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The result of the demo.
#[derive(Debug)]
pub struct Report {
    options: Options,
    lasted: Duration,
    numbers: Numbers,
    verdict: Verdict,
}

/// Runs the demo until its time is over or the first signal arrives. A second signal ends it at once.
/// Its folder is always removed.
///
/// # Errors
/// See [`Failure`].
pub async fn run(options: Options) -> Result<Report, Failure> {
    let signals = Signals::listen()?;
    let folder = Folder::make(&options.folder)?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = listener.local_addr()?;
    let service = Arc::new(Service::at(address)?);
    let stop = CancellationToken::new();
    let mut serving = pin!(app::serve_on(listener, service::config(address, &folder)?, stop.clone()));
    tokio::select! {
        ended = &mut serving => {
            ended?;
            Err(Failure::Unexpected("stopped too early".to_owned()))
        }
        played = play(options, &service, &signals) => {
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
        let words = self.options.language.words();
        let picture = Picture { words, colour };
        let mut lines = vec![(words.summary)(self.lasted.as_secs(), TERMINALS, self.options.seed), String::new()];
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
            "seconds": self.lasted.as_secs_f64(), "seed": self.options.seed, "terminals": TERMINALS,
            "parts_made": made, "parts_settled": settled, "quantity": self.verdict.quantity, "naive_counter": reached,
            "requests_sent": sent, "requests_lost": requests_lost, "answers_lost": answers_lost,
            "delivered_twice": doubled, "delivered_late": late, "requests_reached": reached,
            "repeats_stopped": repeats, "scanned_twice_refused": scanned_twice, "put_off": put_off,
            "checks": self.verdict.checks(), "verdict": self.holds(),
        })
    }
}

async fn play(options: Options, service: &Arc<Service>, signals: &Signals) -> Result<Report, Failure> {
    service.plan().await?;
    let begun = Instant::now();
    let tally = Arc::new(Tally::default());
    let network = Network::new(Arc::clone(service), Arc::clone(&tally));
    let enough = CancellationToken::new();
    let mut terminals = JoinSet::new();
    for number in 1..=TERMINALS {
        let chance = StdRng::seed_from_u64(options.seed.wrapping_mul(TERMINALS).wrapping_add(number));
        let terminal = Terminal::new(number, chance, network.clone(), Arc::clone(&tally));
        terminals.spawn(terminal.run(enough.clone()));
    }

    let view = View::start(&options);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut time_is_up = pin!(sleep(options.time));
    let mut limit = pin!(sleep(options.time + SETTLE_LIMIT));
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
            () = &mut limit => return Err(Failure::Unsettled(tally.numbers().on_their_way(), SETTLE_LIMIT)),
            _ = frames.tick() => view.show(begun.elapsed(), &tally.numbers(), service.quantity().await?),
        }
    }
    let numbers = tally.numbers();
    let verdict = audit::audit(&service.log().await?, service.quantity().await?, numbers.made);
    view.end();
    Ok(Report { lasted: begun.elapsed().min(options.time), options, numbers, verdict })
}

/// The signals of the user. The first one ends the demo with a verdict, the second one at once.
struct Signals {
    first: CancellationToken,
    second: CancellationToken,
    task: JoinHandle<()>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let tokens = [first.clone(), second.clone()];
        let task = tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                token.cancel();
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
