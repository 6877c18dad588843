//! The cases. Each name is a sentence about a store.

mod claims;
mod lists;
mod many;
mod planning;
mod refusals;
mod taken_back;
mod values;
mod writes;

pub use claims::*;
pub use lists::*;
pub use many::*;
pub use planning::*;
pub use refusals::*;
pub use taken_back::*;
pub use values::*;
pub use writes::*;
