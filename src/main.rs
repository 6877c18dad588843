//! The binary: see the library's front page for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    scanfence::cli::run()
}
