//! Answers: problems and their words, updates, pages of lists, CSV.

pub(super) mod code;
pub(super) mod csv;
pub(super) mod language;
pub(super) mod negotiation;
pub(super) mod pages;
pub(super) mod problem;
pub(super) mod render;
pub(super) mod response;
pub(super) mod words;
