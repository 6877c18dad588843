//! A store, committer and lease in memory: the real rules, without a database.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

use crate::counting::{self, Answer, ScanIntake, Unsettled};
use crate::domain::decide::{Arrival, Claim, ClaimKey, Facts, NamedUpdate, Verdict, WorkOrderChange, decide};
use crate::domain::ids::{Fence, Owner, Principal, RequestId, WorkOrderNumber};
use crate::domain::refusals::{Leave, Left, NotLeft, Refusal, may_be_settled};
use crate::domain::request::{Barcodes, Request};
use crate::domain::time::Timestamp;
use crate::domain::update::Update;
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Moment, Precondition, WorkOrder};
use crate::lease::{Ask, Health, Held, Lease, LeaseState, Unreachable, View};
use crate::store::{
    BarcodeQuery, Batch, CountingStore, Edited, LogCursor, PlanningStore, Readiness, RefusalQuery, RefusalStore, Store,
    StoreError, UpdateQuery, UpdateStore, Wanted, WorkOrderQuery, Written,
};

pub(super) struct Shop {
    state: Mutex<State>,
    owner: Owner,
    freed: Notify,
    /// Notified when requests were handed in.
    pub handed_in: Notify,
    let_go: Notify,
}

pub(super) struct State {
    rows: BTreeMap<WorkOrderNumber, WorkOrder>,
    log: Vec<Arc<Update>>,
    claims: HashMap<ClaimKey, Vec<Claim>>,
    left: HashMap<RequestId, Left>,
    clock: i64,
    held_back: Vec<(oneshot::Sender<Answer>, Answer)>,
    pub mood: Mood,
    pub readiness: Option<Readiness>,
    pub asked_if_ready: u32,
    pub lease: Health,
    pub lease_view: Option<View>,
}

/// How counting and the store behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// As they should.
    Good,
    /// Every request is left undecided.
    Leaves(Unsettled),
    /// Requests are decided, but not answered before [`Shop::release`]; planning waits for it, too.
    HoldsBack,
    /// Counting is gone.
    Gone,
    /// A defect.
    Panics,
    /// The store answers nothing.
    StoreDown,
}

impl Shop {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            rows: BTreeMap::new(),
            log: Vec::new(),
            claims: HashMap::new(),
            left: HashMap::new(),
            clock: 0,
            held_back: Vec::new(),
            mood: Mood::Good,
            readiness: Some(Readiness { writable: true, migrated: true, synchronous_standby: false }),
            asked_if_ready: 0,
            lease: Health::Good,
            lease_view: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            owner: Owner::named("shop"),
            freed: Notify::new(),
            handed_in: Notify::new(),
            let_go: Notify::new(),
        })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn mood(&self, mood: Mood) {
        self.with(|state| state.mood = mood);
    }

    /// Answers what was held back; the number of those that still waited.
    pub(super) fn release(&self) -> usize {
        self.let_go.notify_one();
        let held = self.with(|state| std::mem::take(&mut state.held_back));
        held.into_iter().filter_map(|(waiting, answer)| waiting.send(answer).ok()).count()
    }

    pub(super) fn updates(&self) -> Vec<Arc<Update>> {
        self.with(|state| state.log.clone())
    }

    /// Pretends that a newer release has written the log.
    pub(super) fn rewrite(&self, change: impl Fn(&mut Update)) {
        self.with(|state| state.log.iter_mut().for_each(|update| change(Arc::make_mut(update))));
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        self.with(|state| match state.mood {
            Mood::StoreDown => Err(StoreError::Broken("down".into())),
            _ => Ok(read(state)),
        })
    }
}

impl State {
    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        let base = Timestamp::parse("2026-01-03T01:16:54Z").unwrap().to_utc();
        Timestamp::cut(base + Duration::from_millis(self.clock.unsigned_abs())).unwrap()
    }

    fn decide(&mut self, requests: &[Request], principal: &Principal) -> Vec<Answer> {
        let facts = Facts {
            work_orders: self.rows.clone().into_iter().collect(),
            updates: self.log.iter().map(|update| (update.request_id.clone(), Arc::clone(update))).collect(),
            named: requests.iter().filter_map(|request| self.named(request.names()?)).collect(),
            claims: self.claims.clone(),
        };
        let arrivals: Vec<_> = requests.iter().map(|request| Arrival { request, principal }).collect();
        let now = self.now();
        let moment = Moment { now, late_scans: counting::Settings::default().late_scans };
        let decision = decide(facts, &arrivals, &HashMap::new(), moment);
        for change in decision.changes {
            self.apply(change);
        }
        let original = |update: &Update| {
            let id = update.original_request_id.as_ref()?;
            self.log.iter().find(|row| row.request_id == *id).cloned()
        };
        let answer = |verdict| match verdict {
            Verdict::Decided(update) => Answer::Decided { original: original(&update), update, replayed: false },
            Verdict::Replayed { update, in_batch: _ } => {
                Answer::Decided { original: original(&update), update, replayed: true }
            }
            Verdict::KeyReused { update, in_batch: _, differs } => Answer::KeyReused { update, differs },
            Verdict::WorkOrderUnknown => Answer::WorkOrderUnknown,
            Verdict::UpdateUnknown => Answer::UpdateUnknown,
        };
        decision.verdicts.into_iter().map(answer).collect()
    }

    fn named(&self, id: &RequestId) -> Option<(RequestId, NamedUpdate)> {
        let update = Arc::clone(self.log.iter().find(|row| row.request_id == *id)?);
        let counted = || self.log.iter().filter(|row| row.seq.is_some());
        let released = counted().filter(|row| row.barcodes == Some(Barcodes::Release) && row.counter == update.counter);
        let named = NamedUpdate {
            is_taken_back: counted().any(|row| row.takes_back.as_ref() == Some(id)),
            is_settled: counted().any(|row| row.settles.as_ref() == Some(id)),
            released_at: released.filter(|row| row.work_order == update.work_order).filter_map(|row| row.seq).max(),
            update,
        };
        Some((id.clone(), named))
    }

    fn refusal(&self, update: &Update) -> Refusal {
        let id = &update.request_id;
        let settling = self.log.iter().find(|row| row.seq.is_some() && row.settles.as_ref() == Some(id));
        Refusal {
            update: update.clone(),
            settled_by: settling.map(|row| row.request_id.clone()),
            left: self.left.get(id).cloned(),
        }
    }

    fn apply(&mut self, change: WorkOrderChange) {
        self.log.extend(change.updates);
        for counter in change.claims.release {
            self.claims.retain(|key, _| key.work_order != change.row.work_order || key.counter != counter);
        }
        for (key, claim) in change.claims.delete {
            self.claims.entry(key).or_default().retain(|standing| standing.ordinal != claim.ordinal);
        }
        for (key, claim) in change.claims.take_over.into_iter().chain(change.claims.insert) {
            let standing = self.claims.entry(key).or_default();
            standing.retain(|other| other.ordinal != claim.ordinal);
            standing.push(claim);
        }
        self.rows.insert(change.row.work_order.clone(), change.row);
    }
}

impl ScanIntake for Shop {
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>> {
        let receivers = self.with(|state| {
            let mood = state.mood;
            assert_ne!(mood, Mood::Panics, "asked to");
            let answers = match mood {
                Mood::Leaves(unsettled) => vec![Answer::Unsettled(unsettled); requests.len()],
                _ => state.decide(&requests, principal),
            };
            let mut receivers = Vec::new();
            for answer in answers {
                let (sender, receiver) = oneshot::channel();
                receivers.push(receiver);
                match mood {
                    Mood::HoldsBack => state.held_back.push((sender, answer)),
                    Mood::Gone => drop(sender),
                    _ => sender.send(answer).unwrap(),
                }
            }
            receivers
        });
        self.handed_in.notify_one();
        receivers
    }
}

#[async_trait]
impl CountingStore for Shop {
    async fn load(&self, _: &Wanted) -> Result<Facts, StoreError> {
        unreachable!("HTTP loads nothing for a decision")
    }

    async fn write(&self, _: &Batch) -> Result<Written, StoreError> {
        unreachable!("HTTP writes no batches")
    }

    async fn write_locked(
        &self,
        _: &Wanted,
        _: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        unreachable!("HTTP writes no batches")
    }

    fn epoch(&self) -> u64 {
        0
    }
}

#[async_trait]
impl PlanningStore for Shop {
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        match self.with(|state| state.mood) {
            Mood::HoldsBack => {
                self.handed_in.notify_one();
                self.let_go.notified().await;
            }
            mood => assert_ne!(mood, Mood::Panics, "asked to"),
        }
        self.read(|_| ())?;
        Ok(self.with(|state| {
            let present = state.rows.get(number);
            let created = present.is_none();
            let row = edit.apply(number, present, precondition, fresh)?;
            state.rows.insert(number.clone(), row.clone());
            Ok(Edited { row, created })
        }))
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        self.read(|state| state.rows.get(number).cloned())
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        let wanted = |row: &&WorkOrder| {
            query.status.is_none_or(|status| row.status == status)
                && query.line.as_ref().is_none_or(|line| row.plan.line.as_ref() == Some(line))
                && query.q.as_ref().is_none_or(|q| row.work_order.as_str().contains(q))
                && query.after.as_ref().is_none_or(|after| row.work_order > *after)
        };
        let limit = usize::try_from(query.limit).unwrap();
        self.read(|state| state.rows.values().filter(wanted).take(limit).cloned().collect())
    }
}

#[async_trait]
impl UpdateStore for Shop {
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        let place = |update: &Update| match update.seq {
            Some(seq) => (seq, None),
            None => (update.at_seq.unwrap(), Some((update.recorded_at, update.request_id.clone()))),
        };
        let wanted = |update: &&Arc<Update>| {
            update.work_order == query.work_order
                && query.counter.is_none_or(|counter| update.counter == counter)
                && query.outcome.is_none_or(|outcome| update.outcome == outcome)
                && query.barcode.as_ref().is_none_or(|barcode| update.barcode_canonical.as_ref() == Some(barcode))
                && query.from.is_none_or(|from| update.recorded_at >= from)
                && query.to.is_none_or(|to| update.recorded_at < to)
                && query
                    .before
                    .as_ref()
                    .is_none_or(|LogCursor { seq, refused }| place(update) < (*seq, refused.clone()))
        };
        self.read(|state| page(state.log.iter().filter(wanted), query.limit, place))
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        let place = |update: &Update| (update.recorded_at, update.request_id.clone());
        let wanted = |update: &&Arc<Update>| {
            update.barcode_canonical.as_ref() == Some(&query.barcode)
                && query.before.as_ref().is_none_or(|before| place(update) < *before)
        };
        self.read(|state| page(state.log.iter().filter(wanted), query.limit, place))
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        let wanted = |update: &&Arc<Update>| ids.contains(&update.request_id);
        self.read(|state| state.log.iter().filter(wanted).map(|update| Update::clone(update)).collect())
    }
}

#[async_trait]
impl RefusalStore for Shop {
    async fn refusals(&self, query: &RefusalQuery) -> Result<Vec<Refusal>, StoreError> {
        let place = |update: &Update| (update.recorded_at, update.request_id.clone());
        self.read(|state| {
            let wanted = |update: &&Arc<Update>| {
                let Refusal { settled_by, left, .. } = state.refusal(update);
                may_be_settled(update)
                    && query.line.as_ref().is_none_or(|line| update.line.as_ref() == Some(line))
                    && query.code.is_none_or(|code| update.code == Some(code))
                    && query.since.is_none_or(|since| update.recorded_at >= since)
                    && query.open.is_none_or(|open| open == (settled_by.is_none() && left.is_none()))
                    && query.before.as_ref().is_none_or(|before| place(update) < *before)
            };
            let rows = page(state.log.iter().filter(wanted), query.limit, place);
            rows.iter().map(|update| state.refusal(update)).collect()
        })
    }

    async fn refusal(&self, request_id: &RequestId) -> Result<Option<Refusal>, StoreError> {
        self.read(|state| {
            let update = state.log.iter().find(|update| update.request_id == *request_id);
            update.map(|update| state.refusal(update))
        })
    }

    async fn leave(&self, request_id: &RequestId, leave: &Leave) -> Result<Result<Refusal, NotLeft>, StoreError> {
        let found = self.refusal(request_id).await?;
        Ok(leave.judge(found).map(|(refusal, _)| {
            let left = refusal.left.clone().expect("it was left now or before");
            self.with(|state| state.left.insert(request_id.clone(), left));
            refusal
        }))
    }
}

#[async_trait]
impl Store for Shop {
    async fn ready(&self) -> Result<Readiness, StoreError> {
        let readiness = self.with(|state| {
            state.asked_if_ready += 1;
            state.readiness.clone()
        });
        match readiness {
            Some(readiness) => self.read(|_| readiness),
            None => std::future::pending().await,
        }
    }

    async fn close(&self) {}
}

/// The newest rows, newest first.
fn page<'a, K: Ord>(
    rows: impl Iterator<Item = &'a Arc<Update>>,
    limit: i64,
    place: impl Fn(&Update) -> K,
) -> Vec<Update> {
    let mut rows: Vec<Update> = rows.map(|update| Update::clone(update)).collect();
    rows.sort_by_key(|update| std::cmp::Reverse(place(update)));
    rows.truncate(usize::try_from(limit).unwrap());
    rows
}

#[async_trait]
impl Lease for Shop {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    async fn ensure(&self, _: &[Ask]) -> Vec<LeaseState> {
        unreachable!("HTTP asks for no lease")
    }

    fn held(&self, _: &WorkOrderNumber) -> Option<Held> {
        unreachable!("HTTP asks for no lease")
    }

    fn settle(&self, _: &[WorkOrderNumber]) -> futures_util::future::BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    async fn lost(&self, _: &WorkOrderNumber) {}

    fn released(&self) -> &Notify {
        &self.freed
    }

    async fn view(&self, _: &WorkOrderNumber) -> Result<Option<View>, Unreachable> {
        self.with(|state| match state.lease {
            Health::Good | Health::RowsAlone => Ok(state.lease_view.clone()),
            Health::Away | Health::Refusing => Err(Unreachable("away".into())),
        })
    }

    fn health(&self) -> Health {
        self.with(|state| state.lease)
    }

    async fn close(&self) {}
}

/// A lease that another replica holds.
pub(super) fn held_elsewhere() -> View {
    View { holder: Owner::named("replica-2"), fence: Fence(42), expires_in: Some(Duration::from_millis(8412)) }
}
