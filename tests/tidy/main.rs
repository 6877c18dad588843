//! Rules for the source that the compiler does not know, checked by reading it.
//!
//! Each rule has a test beside it that shows it red with a small source.

mod borders;
mod circles;
mod lengths;
mod maps;
mod reading;
mod statements;
