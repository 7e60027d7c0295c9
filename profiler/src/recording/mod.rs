//! The recording: one file that keeps the raw evidence of one live update.
pub mod frame;

pub use frame::{Body, Frame, Side};
