//! Whose turn it is to write.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::yield_now;

/// One lane writes at a time. Two writes at once would make two small batches instead of a large one,
/// and every statement has a fixed cost.
#[derive(Default)]
pub(super) struct WriteTurn {
    writing: Mutex<()>,
    waiting: AtomicUsize,
}

impl WriteTurn {
    pub(super) async fn take(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let turn = self.writing.lock().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        turn
    }

    /// Ends a turn. If the other lane waits for its turn, it runs first and sends its write. It was woken
    /// by this task, so it is the next one to run on this thread. Then this lane gives its answers.
    pub(super) async fn pass_on(&self, turn: MutexGuard<'_, ()>) {
        drop(turn);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            yield_now().await;
        }
    }
}
