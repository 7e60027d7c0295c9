//! The command line: one thin file per subcommand that does more than call the library.

pub mod dump;
pub mod report;
