//! The program. The first page of the library explains its parts.

use std::process::ExitCode;

/// Counting allocates many small texts in one task and frees them in another. The allocator of the
/// C library is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    scanfence::cli::run()
}
