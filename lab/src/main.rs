//! `blackout-lab`: init when it is process 1, the command line otherwise.

fn main() {
    if std::process::id() == 1 {
        lab::guest::main()
    }
}
