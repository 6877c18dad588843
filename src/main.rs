//! The binary: see the library's front page for the map.

use std::process::ExitCode;

/// Counting allocates many small texts in one task and frees them in another, which is
/// where the C library's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    scanfence::cli::run()
}
