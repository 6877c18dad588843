//! Whose turn it is to write.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::yield_now;

/// Whose turn it is to write. One write at a time: two at once make two small batches of one
/// large, and every statement has its price.
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

    /// Ends a turn. A lane that waits for one sends its write off first, before this one goes
    /// on with its answers: woken by this task, it would be the next to run on this thread.
    pub(super) async fn pass_on(&self, turn: MutexGuard<'_, ()>) {
        drop(turn);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            yield_now().await;
        }
    }
}
