//! Init of the lab's guest, the same program under both kernels.

/// Runs as process 1; does not return.
pub fn main() -> ! {
    std::process::exit(1)
}
