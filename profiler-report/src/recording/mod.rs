//! The recording: one file that keeps the raw evidence of one live update.
pub mod codec;
pub mod frame;
pub mod reader;
pub mod writer;

pub use frame::{Body, Frame, Side};
pub use reader::{Damage, ReadError, Recording, read};
pub use writer::{WriteError, Writer};
