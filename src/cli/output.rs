//! What a command prints, and its exit code.

use std::io::Write as _;
use std::process::ExitCode;

/// The command failed.
pub(super) const FAILED: u8 = 1;
/// The command line or a setting is wrong.
pub(super) const WRONG_USAGE: u8 = 2;
/// A check found drift, or a person has to decide.
pub(super) const DRIFT: u8 = 3;

/// How data is printed.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Text,
    Json,
}

/// Prints data on stdout. It is no failure if the reader closed stdout.
pub(super) fn print(text: String) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scanfence: the output can't be written to stdout: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Says why a command line or a setting is refused.
pub(super) fn wrong_usage(problem: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("scanfence: {problem}");
    eprintln!("scanfence: nothing was started. Correct this, and run the command again.");
    ExitCode::from(WRONG_USAGE)
}
