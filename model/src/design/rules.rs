//! The rules of counting (`src/domain/decide.rs`): what becomes of each request of a batch.

use super::state::{Found, Key, Outcome, Row, Update};
use super::{Ask, Design, Guard};

/// What is decided of a batch so far.
pub struct Draft {
    pub row: Row,
    pub updates: Vec<Update>,
    /// The claim of the part.
    pub claim: Option<Key>,
    /// All claims before this batch are deleted.
    pub releases: bool,
    /// Undos of updates that nobody knows.
    pub too_early: Vec<Key>,
    found: Found,
    /// Nobody has looked for a claim.
    unclaimed: bool,
}

/// What a request changes, if it is counted.
struct Change {
    delta: i8,
    takes_back: Option<Key>,
}

impl Change {
    fn of(delta: i8) -> Self {
        Self { delta, takes_back: None }
    }

    fn taking_back(key: Key) -> Self {
        Self { delta: -1, takes_back: Some(key) }
    }
}

impl Design {
    /// Decides these requests, one after the other.
    pub fn draft(&self, keys: Vec<Key>, row: Row, found: Found, unclaimed: bool) -> Draft {
        let (updates, too_early) = (Vec::new(), Vec::new());
        let mut draft = Draft { row, updates, claim: found.claim, releases: false, too_early, found, unclaimed };
        for key in keys {
            let twice = self.has(Guard::OnceInBatch) && draft.updates.iter().any(|update| update.key == key);
            if twice || draft.found.known.iter().any(|update| update.key == key) {
                continue;
            }
            match self.ask(key) {
                Ask::Undo(target) if draft.update(target).is_none() => draft.too_early.push(key),
                ask => {
                    let change = self.change(&draft, ask);
                    draft.note(key, ask, change);
                }
            }
        }
        draft
    }

    /// `None` if the request is refused.
    fn change(&self, draft: &Draft, ask: Ask) -> Option<Change> {
        let quantity = draft.row.quantity;
        match ask {
            Ask::Count => Some(Change::of(1)),
            Ask::CountPart => draft.claim.is_none().then(|| Change::of(1)),
            Ask::TakeBack => (quantity > 0).then(|| Change::of(-1)),
            Ask::Unbind => draft.claim.map(Change::taking_back),
            Ask::Undo(target) => self.stands(draft, target).then(|| Change::taking_back(target)),
            Ask::Release => Some(Change::of(-quantity)),
        }
    }

    /// Whether this scan is counted, and neither taken back nor released.
    fn stands(&self, draft: &Draft, key: Key) -> bool {
        let seq = draft.update(key).and_then(Update::seq);
        // Without a look, memory takes the claim of a counted part to stand.
        let has_claim = self.ask(key) != Ask::CountPart || draft.claim == Some(key) || draft.unclaimed;
        seq.is_some() && seq > draft.found.released_at && !draft.found.taken_back.contains(&key) && has_claim
    }
}

impl Draft {
    /// An update that an undo names.
    fn update(&self, key: Key) -> Option<&Update> {
        self.found.named.iter().chain(&self.updates).find(|update| update.key == key)
    }

    fn note(&mut self, key: Key, ask: Ask, change: Option<Change>) {
        let before = self.row.quantity;
        let takes_back = change.as_ref().and_then(|change| change.takes_back);
        let outcome = match &change {
            Some(change) => {
                (self.row.seq, self.row.quantity) = (self.row.seq + 1, before + change.delta);
                Outcome::Counted { seq: self.row.seq }
            }
            None => Outcome::Refused { at_seq: self.row.seq },
        };
        match ask {
            Ask::CountPart if change.is_some() => self.claim = Some(key),
            Ask::Release => (self.claim, self.releases, self.found.released_at) = (None, true, Some(self.row.seq)),
            _ if takes_back.is_some() && self.claim == takes_back => self.claim = None,
            _ => {}
        }
        self.found.taken_back.extend(takes_back);
        let Row { quantity: after, fence, .. } = self.row;
        self.updates.push(Update { key, outcome, before, after, fence, takes_back });
    }
}
