//! Which channels fail, for `/readyz`.

use std::sync::{PoisonError, RwLock};

/// The channels whose last attempt failed.
#[derive(Debug, Default)]
pub struct Channels(RwLock<Vec<String>>);

impl Channels {
    /// Their names.
    #[must_use]
    pub fn failing(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_failing(&self, failing: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}
