//! The command line: one thin file per subcommand that does more than call the library.

pub mod budget;
pub mod check;
pub mod compare;
mod connect;
pub mod dump;
pub mod export;
pub mod manual;
mod output;
pub mod push;
pub mod report;
pub mod serve;
pub mod setup;
pub mod stream;
pub mod trend;
pub mod tui;
