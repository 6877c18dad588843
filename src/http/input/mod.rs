//! From a request's bytes to checked values.
//!
//! - [`extractors`]: what a handler takes from a request.
//! - [`json`]: reads JSON strictly.
//! - [`fields`]: checks the fields of a body or a query, and gathers the errors.
//! - [`values`]: reads one value.
//! - [`paging`]: `limit` and `cursor` of a list.

pub(super) mod extractors;
pub(super) mod fields;
pub(super) mod json;
pub(super) mod paging;
pub(super) mod values;
