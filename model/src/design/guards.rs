//! The guards: the rules that the design leans on. Each can be taken out of a design.

/// A rule that the design leans on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The log has a request id once (primary key).
    IdKey,
    /// The write looks up the request ids that no load has looked up: at once, or where a key has refused it.
    IdLookUp,
    /// The claims have a part once (primary key).
    PartKey,
    /// The write looks up the part that no load has looked up, likewise.
    PartLookUp,
    /// The log has a scan taken back once (unique key, `update_log_takes_back`).
    TakenBackKey,
    /// What an undo names is loaded with the row, never taken from memory.
    UndoLoaded,
    /// A release goes by the row lock.
    ReleaseByRowLock,
    /// The same request id twice in a batch is decided once.
    OnceInBatch,
    /// The log has a `seq` of a work order once (unique key).
    SeqKey,
    /// A write passes only at the stamp that it was decided at.
    Stamp,
    /// A write of refusals alone also passes only at the stamp, and gives a new one.
    StampForRefusals,
    /// Row, request ids, claims and what undos name are loaded in one snapshot.
    OneSnapshot,
    /// A write under an older fence than the row's does not pass.
    Fence,
    /// A write under the row's own fence passes only for the owner who wrote it.
    FenceOwner,
    /// If the loaded row has overtaken a lease, the worker asks for a new lease.
    AskAnew,
    /// A fence is granted above the row's, also if Redis has lost its counter.
    Floor,
    /// Redis grants a lease to one worker at a time.
    OneHolder,
    /// A lease is released only by the owner and fence that hold it.
    ReleaseWhole,
    /// A kept row is used only under the fence that it was written under.
    KeptUnderFence,
    /// Memory is dropped when the outcome of a write is unknown.
    Forget,
    /// What can't be written under a lease goes by the row lock.
    RowLockedLane,
    /// By the row lock: the lock comes first, then the load.
    LockFirst,
    /// Nothing is answered before it is committed.
    AnswerLast,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 23] = [
        Self::AnswerLast,
        Self::Stamp,
        Self::StampForRefusals,
        Self::OnceInBatch,
        Self::IdKey,
        Self::IdLookUp,
        Self::PartKey,
        Self::PartLookUp,
        Self::TakenBackKey,
        Self::OneSnapshot,
        Self::AskAnew,
        Self::Fence,
        Self::FenceOwner,
        Self::RowLockedLane,
        Self::Floor,
        Self::LockFirst,
        Self::SeqKey,
        Self::OneHolder,
        Self::ReleaseWhole,
        Self::KeptUnderFence,
        Self::Forget,
        Self::UndoLoaded,
        Self::ReleaseByRowLock,
    ];

    /// The guard, as a rule.
    pub fn words(self) -> &'static str {
        match self {
            Self::AnswerLast => "an answer comes after the commit",
            Self::Stamp => "a write passes only at the stamp it was decided at",
            Self::StampForRefusals => "refusals alone, too, pass only at the stamp, and give a new one",
            Self::OnceInBatch => "a request id twice in a batch is decided once",
            Self::IdKey => "the log has a request id once",
            Self::IdLookUp => "the write looks up the ids that no load has",
            Self::PartKey => "the claims have a barcode once",
            Self::PartLookUp => "the write looks up the barcodes that no load has",
            Self::TakenBackKey => "the log has a scan taken back once",
            Self::UndoLoaded => "what an undo names is loaded, not remembered",
            Self::ReleaseByRowLock => "a release goes by the row lock",
            Self::OneSnapshot => "row, ids, claims and what undos name are loaded in one snapshot",
            Self::AskAnew => "a lease that the row has overtaken is asked for anew",
            Self::Fence => "no write passes under an older fence",
            Self::FenceOwner => "no write passes under an equal fence of another owner",
            Self::RowLockedLane => "what can't go by lease goes by the row lock",
            Self::Floor => "a fence is granted above the row's",
            Self::LockFirst => "the row lock comes before the look",
            Self::SeqKey => "the log has a `seq` once",
            Self::OneHolder => "a lease has one holder at a time",
            Self::ReleaseWhole => "a release compares owner and fence",
            Self::KeptUnderFence => "a kept row is used under its own fence only",
            Self::Forget => "memory is dropped after an unknown outcome",
        }
    }
}
