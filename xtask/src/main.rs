//! TODO-SKELETON
fn main() {}
