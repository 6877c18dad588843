//! The state of the whole system: the row and its log, the lease in Redis, the workers, the writes on
//! their way, and the clients.

/// One of the two requests, or [`EARLIER`].
pub type Key = usize;
/// A scan that was counted before the run begins.
pub const EARLIER: Key = 2;
/// One of the two workers.
pub type Place = usize;
pub type Fence = u8;
/// A process. Each start of a worker is a new one.
pub type Owner = u8;
/// It is compared only for equality.
pub type Stamp = u8;

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The work order, as committed.
    pub row: Row,
    /// The log, in the order of the commits.
    pub log: Vec<Update>,
    /// The claim of the part: the request that counted it.
    pub claim: Option<Key>,
    /// A leased write has passed although its fence was older than the row's, or equal and of another owner.
    pub late_writer: bool,
    /// Redis: who holds.
    pub lease: Option<(Owner, Fence)>,
    /// Redis: the highest fence granted, as far as it remembers.
    pub counter: Fence,
    pub workers: [Worker; 2],
    /// Writes that the database has not carried out yet.
    pub writes: Vec<Write>,
    pub clients: [Client; 2],
    /// How many faults may still happen.
    pub faults: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub quantity: i8,
    pub seq: u8,
    pub fence: Fence,
    pub owner: Option<Owner>,
    pub stamp: Stamp,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Update {
    pub key: Key,
    pub outcome: Outcome,
    pub before: i8,
    pub after: i8,
    pub fence: Fence,
    /// The scan that it took back.
    pub takes_back: Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Counted { seq: u8 },
    Refused { at_seq: u8 },
}

/// A replica: what it has in memory, and its present step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    pub owner: Owner,
    /// The lease that it believes it holds.
    pub held: Option<Fence>,
    pub kept: Option<Kept>,
    /// Updates that it has seen in the log.
    pub remembered: Vec<Update>,
    pub mailbox: Vec<Letter>,
    pub hand: Hand,
}

/// What a worker keeps after a write, so that the next batch needs no load.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kept {
    /// The row as it wrote it, and the fence under which it did.
    pub row: Row,
    pub fence: Fence,
    /// The claim of the part, where a later write has found one.
    pub claim: Option<Key>,
}

/// A request in a worker's hands. The same one may be there twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    pub key: Key,
    /// Whether somebody still waits for the answer.
    pub awaited: bool,
}

/// The present step of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hand {
    Empty,
    /// It has the lease, and is about to load.
    Leased {
        letters: Vec<Letter>,
        fence: Fence,
        /// What was looked up before the row; only without [`Guard::OneSnapshot`].
        seen: Option<Found>,
    },
    /// The row that it loaded has a fence above its lease's; it is about to ask anew.
    Overtaken {
        letters: Vec<Letter>,
        facts: Facts,
    },
    /// It is about to go by the row lock.
    WithoutLease {
        letters: Vec<Letter>,
    },
    /// Its write is on the way, and it waits for the outcome.
    Writing {
        letters: Vec<Letter>,
        known: Vec<Update>,
    },
}

/// What is decided upon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    pub row: Row,
    pub found: Found,
    /// The request ids that nobody has looked up.
    pub unseen: Vec<Key>,
    /// Nobody has looked for a claim.
    pub unclaimed: bool,
}

/// What is found beside the row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Found {
    /// The requests that are decided already.
    pub known: Vec<Update>,
    /// The claim of the part.
    pub claim: Option<Key>,
    /// The updates that undos name.
    pub named: Vec<Update>,
    /// Those of them that are taken back.
    pub taken_back: Vec<Key>,
    /// The `seq` of the latest release.
    pub released_at: Option<u8>,
}

/// A write on its way: one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// The worker that waits for its outcome; none after the connection broke or the process died.
    pub by: Option<Place>,
    /// Whether it holds the row: no other write passes before it has passed or is gone.
    pub locked: bool,
    /// The stamp at which it was decided.
    pub loaded: Stamp,
    /// The lease under which it was decided.
    pub authority: Option<(Owner, Fence)>,
    /// The row after; `None` leaves it alone; only without [`Guard::StampForRefusals`].
    pub row: Option<Row>,
    pub updates: Vec<Update>,
    /// The claim of the part, as it was loaded and as it is left; what a release frees does not count as
    /// loaded.
    pub claim: (Option<Key>, Option<Key>),
    /// Whether it frees the part first, whoever has counted it.
    pub releases: bool,
    pub unseen: Vec<Key>,
    pub unclaimed: bool,
}

/// Who wants a request settled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub call: Call,
    /// The newest answer that a worker gave, heard or not.
    pub answer: Option<Update>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// To be sent, for the first time or again.
    Unsent,
    Waiting,
    /// Told that what it names is not known. It sends again once that is decided.
    TooEarly,
    Answered,
}

impl State {
    /// Whether every client has its answer.
    pub fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| client.call == Call::Answered)
    }

    /// One and the same state for both orders of the workers.
    pub fn regardless_of_workers(&self) -> Self {
        let mut other = self.clone();
        other.workers.swap(0, 1);
        for write in &mut other.writes {
            write.by = write.by.map(|place| 1 - place);
        }
        other.rename();
        other.min(self.clone())
    }

    /// Quantity, `seq` and log agree, as ARCHITECTURE.md says. Each refusal was decided at the `seq` that
    /// its place in the log shows.
    pub fn is_explained(&self) -> bool {
        let (mut quantity, mut last) = (0, 0);
        for update in &self.log {
            let follows = match update.outcome {
                Outcome::Counted { seq } => seq == last + 1,
                Outcome::Refused { at_seq } => at_seq == last && update.before == update.after,
            };
            if !follows || update.before != quantity {
                return false;
            }
            quantity = update.after;
            last += u8::from(update.seq().is_some());
        }
        (self.row.quantity, self.row.seq) == (quantity, last)
    }

    pub fn updates_of(&self, keys: &[Key]) -> Vec<Update> {
        self.log.iter().filter(|update| keys.contains(&update.key)).cloned().collect()
    }

    pub fn take_write(&mut self, is_it: impl Fn(&Write) -> bool) -> Option<Write> {
        let number = self.writes.iter().position(is_it)?;
        Some(self.writes.remove(number))
    }

    /// Answers those letters that the updates decide, and returns the others.
    pub fn answer(&mut self, letters: Vec<Letter>, updates: &[Update]) -> Vec<Letter> {
        let mut left = Vec::new();
        for letter in letters {
            let Some(update) = updates.iter().find(|update| update.key == letter.key) else {
                left.push(letter);
                continue;
            };
            let client = &mut self.clients[letter.key];
            client.answer = Some(update.clone());
            if letter.awaited {
                client.call = Call::Answered;
            }
        }
        left
    }

    /// Tells the clients of these letters that what they name is not known.
    pub fn tell_too_early(&mut self, letters: &[Letter]) {
        for letter in letters.iter().filter(|letter| letter.awaited) {
            self.clients[letter.key].call = Call::TooEarly;
        }
    }

    pub fn crash(&mut self, place: Place) {
        for letter in self.workers[place].letters_mut().filter(|letter| letter.awaited) {
            self.clients[letter.key].call = Call::Unsent;
        }
        for write in self.writes.iter_mut().filter(|write| write.by == Some(place)) {
            write.by = None;
        }
        let owner = NEW_OWNER;
        self.workers[place] =
            Worker { owner, held: None, kept: None, remembered: Vec::new(), mailbox: Vec::new(), hand: Hand::Empty };
    }

    /// A stamp that nobody has.
    pub fn fresh_stamp(&mut self) -> Stamp {
        let mut highest = 0;
        self.names(&mut |stamp| highest = highest.max(*stamp), &mut |_| {});
        highest + 1
    }

    /// Numbers stamps and owners in the order in which they are met. They are compared only for equality, so
    /// states that differ only in these numbers become one state.
    pub fn rename(&mut self) {
        self.writes.sort();
        let (mut stamps, mut owners) = (Vec::new(), Vec::new());
        self.names(&mut |stamp| *stamp = place_in(&mut stamps, *stamp), &mut |owner| {
            *owner = place_in(&mut owners, *owner)
        });
        self.writes.sort();
    }

    fn names(&mut self, stamp: &mut dyn FnMut(&mut Stamp), owner: &mut dyn FnMut(&mut Owner)) {
        for worker in &mut self.workers {
            owner(&mut worker.owner);
        }
        self.row.names(stamp, owner);
        self.lease.iter_mut().for_each(|(holder, _)| owner(holder));
        for worker in &mut self.workers {
            worker.kept.iter_mut().for_each(|kept| kept.row.names(stamp, owner));
            if let Hand::Overtaken { facts, .. } = &mut worker.hand {
                facts.row.names(stamp, owner);
            }
        }
        for write in &mut self.writes {
            stamp(&mut write.loaded);
            write.authority.iter_mut().for_each(|(holder, _)| owner(holder));
            write.row.iter_mut().for_each(|row| row.names(stamp, owner));
        }
    }
}

/// No owner yet has it: [`State::rename`] numbers them from 0.
const NEW_OWNER: Owner = Owner::MAX;

impl Row {
    /// Whether a newer lease has written, or another owner's of the same number.
    pub fn has_overtaken(&self, owner: Owner, held: Fence) -> bool {
        self.fence > held || self.fence == held && self.owner != Some(owner)
    }

    fn names(&mut self, stamp: &mut dyn FnMut(&mut Stamp), owner: &mut dyn FnMut(&mut Owner)) {
        stamp(&mut self.stamp);
        self.owner.iter_mut().for_each(owner);
    }
}

impl Worker {
    /// All that it has to do, whether begun or not.
    pub fn take_letters(&mut self) -> Vec<Letter> {
        let letters = self.letters_mut().map(|letter| letter.clone()).collect();
        (self.hand, self.mailbox) = (Hand::Empty, Vec::new());
        letters
    }

    pub fn put_down(&mut self) -> Hand {
        std::mem::replace(&mut self.hand, Hand::Empty)
    }

    pub fn put_back(&mut self, mut letters: Vec<Letter>) {
        letters.append(&mut self.mailbox);
        self.mailbox = letters;
    }

    pub fn remember(&mut self, updates: &[Update]) {
        let new = updates.iter().filter(|update| !self.remembered.contains(update)).cloned();
        let new: Vec<Update> = new.collect();
        self.remembered.extend(new);
        self.remembered.sort();
    }

    pub fn letters_mut(&mut self) -> impl Iterator<Item = &mut Letter> {
        let in_hand: &mut [Letter] = match &mut self.hand {
            Hand::Empty => &mut [],
            Hand::Leased { letters, .. }
            | Hand::Overtaken { letters, .. }
            | Hand::WithoutLease { letters }
            | Hand::Writing { letters, .. } => letters,
        };
        in_hand.iter_mut().chain(&mut self.mailbox)
    }
}

impl Update {
    pub fn seq(&self) -> Option<u8> {
        match self.outcome {
            Outcome::Counted { seq } => Some(seq),
            Outcome::Refused { .. } => None,
        }
    }
}

/// Those of `targets` that a counted update takes back.
pub fn taken_back(log: &[Update], targets: &[Key]) -> Vec<Key> {
    let is_taken_back = |key: &Key| log.iter().any(|update| update.takes_back == Some(*key));
    targets.iter().copied().filter(is_taken_back).collect()
}

pub fn keys(letters: &[Letter]) -> Vec<Key> {
    letters.iter().map(|letter| letter.key).collect()
}

fn place_in(met: &mut Vec<u8>, name: u8) -> u8 {
    let place = met.iter().position(|other| *other == name).unwrap_or_else(|| {
        met.push(name);
        met.len() - 1
    });
    u8::try_from(place).expect("there are few names")
}
