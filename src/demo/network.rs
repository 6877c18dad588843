//! A simulated bad network. It loses, doubles and delays requests before they reach the real socket.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt as _};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::exchange::{Answer, Arrival, Destination, PATIENCE, Scan};
use super::tally::Tally;

/// How often a request is lost, an answer is lost, a request arrives twice, or late. About every third
/// request has one of these faults, as on a wireless network between steel shelves.
const REQUEST_LOST: f64 = 0.10;
const ANSWER_LOST: f64 = 0.12;
const DOUBLED: f64 = 0.08;
const LATE: f64 = 0.05;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How long the request takes; `None`: it is lost.
    there: Option<Duration>,
    /// How long the answer takes; `None`: it is lost.
    back: Option<Duration>,
    /// When a second copy arrives, if there is one.
    again: Option<Duration>,
}

impl Fate {
    /// Draws one at random.
    pub fn draw(chance: &mut impl Rng) -> Self {
        // The number of draws is always the same, so that one fault does not change the next ones.
        let [lost, answer_lost, doubled, late] =
            [REQUEST_LOST, ANSWER_LOST, DOUBLED, LATE].map(|often| chance.random_bool(often));
        let [there, back, again, delay] =
            [(5, 60), (5, 60), (20, 900), (300, 1200)].map(|(from, to)| millis(chance.random_range(from..to)));
        Self {
            there: (!lost).then_some(if late { PATIENCE + delay } else { there }),
            back: (!answer_lost).then_some(back),
            again: (doubled && !lost).then_some(there + again),
        }
    }

    fn is_late(&self) -> bool {
        self.there.is_some_and(|there| there >= PATIENCE)
    }
}

/// The network between the terminals and the service. Clones are the same network.
pub struct Network<D> {
    destination: Arc<D>,
    tally: Arc<Tally>,
    /// The requests and answers that are under way.
    under_way: TaskTracker,
}

impl<D> Clone for Network<D> {
    fn clone(&self) -> Self {
        Self {
            destination: Arc::clone(&self.destination),
            tally: Arc::clone(&self.tally),
            under_way: self.under_way.clone(),
        }
    }
}

impl<D: Destination> Network<D> {
    /// A network in front of `destination`.
    pub fn new(destination: Arc<D>, tally: Arc<Tally>) -> Self {
        Self { destination, tally, under_way: TaskTracker::new() }
    }

    /// Sends a scan. The answer may never come, or come after the terminal stopped waiting.
    pub fn send(&self, scan: &Scan, fate: Fate, reply: &UnboundedSender<Answer>) {
        self.tally.note(|numbers| {
            numbers.sent += 1;
            numbers.requests_lost += u64::from(fate.there.is_none());
            numbers.doubled += u64::from(fate.again.is_some());
            numbers.late += u64::from(fate.is_late());
        });
        if let Some(there) = fate.there {
            let (network, scan, reply) = (self.clone(), scan.clone(), reply.clone());
            self.under_way.spawn(async move {
                let arrival = network.deliver(&scan, there).await;
                match (arrival, fate.back) {
                    (Some(arrival), Some(back)) => {
                        sleep(back).await;
                        // If an earlier answer arrived, nobody waits for this one.
                        let _ = reply.send(arrival.answer);
                    }
                    (Some(_), None) => network.tally.note(|numbers| numbers.answers_lost += 1),
                    (None, _) => {}
                }
            });
        }
        if let Some(again) = fate.again {
            let (network, scan) = (self.clone(), scan.clone());
            self.under_way.spawn(async move { network.deliver(&scan, again).await });
        }
    }

    /// Waits until nothing is under way. Nothing may be sent after this call.
    pub async fn quiet(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    async fn deliver(&self, scan: &Scan, after: Duration) -> Option<Arrival> {
        sleep(after).await;
        let arrival = self.destination.deliver(scan).await?;
        self.tally.note(|numbers| {
            numbers.reached += 1;
            match arrival.answer {
                Answer::Counted | Answer::CountedBefore if arrival.repeat => numbers.repeats += 1,
                Answer::Counted => {}
                Answer::CountedBefore => numbers.scanned_twice += 1,
                Answer::NotNow => numbers.put_off += 1,
            }
        });
        Some(arrival)
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::tally::Numbers;
    use super::*;

    /// Answers every scan, and keeps it.
    #[derive(Default)]
    struct Book(Mutex<Vec<Scan>>);

    impl Destination for Book {
        async fn deliver(&self, scan: &Scan) -> Option<Arrival> {
            let mut book = self.0.lock().unwrap();
            let repeat = book.contains(scan);
            book.push(scan.clone());
            Some(Arrival { answer: Answer::Counted, repeat })
        }
    }

    fn scan() -> Scan {
        Scan { request_id: "r".into(), barcode: "b".into(), terminal: "t".into() }
    }

    /// Sends one scan, and gives how often it arrived, the answer, and the numbers.
    async fn sent(fate: Fate) -> (usize, Option<Answer>, Numbers) {
        let (book, tally) = (Arc::new(Book::default()), Arc::new(Tally::default()));
        let network = Network::new(Arc::clone(&book), Arc::clone(&tally));
        let (reply, mut answers) = unbounded_channel();
        network.send(&scan(), fate, &reply);
        network.quiet().await;
        let arrived = book.0.lock().unwrap().len();
        (arrived, answers.try_recv().ok(), tally.numbers())
    }

    const GOOD: Fate = Fate { there: Some(Duration::ZERO), back: Some(Duration::ZERO), again: None };

    #[tokio::test(start_paused = true)]
    async fn a_fate_is_what_becomes_of_a_request() {
        let (arrived, answer, numbers) = sent(GOOD).await;
        assert_eq!((arrived, answer, numbers.sent, numbers.reached), (1, Some(Answer::Counted), 1, 1));

        let (arrived, answer, numbers) = sent(Fate { there: None, ..GOOD }).await;
        assert_eq!((arrived, answer, numbers.requests_lost, numbers.reached), (0, None, 1, 0));

        let (arrived, answer, numbers) = sent(Fate { back: None, ..GOOD }).await;
        assert_eq!((arrived, answer, numbers.answers_lost, numbers.reached), (1, None, 1, 1));

        let (arrived, answer, numbers) = sent(Fate { again: Some(millis(9)), ..GOOD }).await;
        assert_eq!((arrived, answer, numbers.doubled), (2, Some(Answer::Counted), 1));
        assert_eq!((numbers.reached, numbers.repeats), (2, 1));

        let (arrived, _, numbers) = sent(Fate { there: Some(PATIENCE), ..GOOD }).await;
        assert_eq!((arrived, numbers.late), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_arrives_though_nobody_waits() {
        let (book, tally) = (Arc::new(Book::default()), Arc::new(Tally::default()));
        let network = Network::new(Arc::clone(&book), tally);
        network.send(&scan(), Fate { there: Some(PATIENCE * 3), ..GOOD }, &unbounded_channel().0);
        network.quiet().await;
        assert_eq!(book.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn every_network_fault_happens_about_as_often_as_said_and_by_the_seed() {
        let draw = |seed| {
            let mut chance = StdRng::seed_from_u64(seed);
            Vec::from_iter((0..10_000).map(|_| Fate::draw(&mut chance)))
        };
        let fates = draw(7);
        assert_eq!(fates, draw(7));
        assert_ne!(fates, draw(8));
        let near = |share: f64, is_it: &dyn Fn(&Fate) -> bool| {
            let counted = fates.iter().filter(|fate| is_it(fate)).count();
            let counted = f64::from(u32::try_from(counted).unwrap()) / 10_000.0;
            assert!((counted - share).abs() < 0.02, "{counted} is not near {share}");
        };
        near(REQUEST_LOST, &|fate| fate.there.is_none());
        near(ANSWER_LOST, &|fate| fate.back.is_none());
        near(DOUBLED * (1.0 - REQUEST_LOST), &|fate| fate.again.is_some());
        near(LATE * (1.0 - REQUEST_LOST), &Fate::is_late);
    }
}
