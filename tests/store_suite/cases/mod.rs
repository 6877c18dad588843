//! The cases. Each name is a sentence about a store.

mod claims;
mod lists;
mod many;
mod planning;
mod values;
mod writes;

pub use claims::*;
pub use lists::*;
pub use many::*;
pub use planning::*;
pub use values::*;
pub use writes::*;
