//! The leases against a real Redis. A test with a number in its name holds to that entry of the
//! list of pitfalls that the design keeps.

#[path = "../stage/mod.rs"]
mod stage;

mod grants;
mod outages;
mod replica;
mod turns;
