//! From a request's bytes to checked values.

pub(super) mod extractors;
pub(super) mod fields;
pub(super) mod json;
pub(super) mod paging;
pub(super) mod values;
