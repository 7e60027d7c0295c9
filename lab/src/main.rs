//! `blackout-lab`: init of the lab's guest when it is process 1, the command line otherwise.

use std::process::ExitCode;

fn main() -> ExitCode {
    if lab::guest::takes_over() {
        lab::guest::main()
    }
    lab::cli::main()
}
