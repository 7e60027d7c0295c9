//! A terminal's views of a live update, while it happens or afterwards.
//!
//! ```text
//! theme    colours that colour-blind people can tell apart, or none
//! action   keys -> what the user wants (pure)
//! ui       where the user looks: view, selection, filter, zoom (pure)
//! rows     a report's spans as rows and lanes (pure)
//! screen   everything a frame is drawn of
//! view/    one file a view: they draw, and decide nothing
//! run      the terminal and the source of news (the only I/O)
//! ```
//! What is known of the live update is [`crate::state`]'s.

pub mod action;
pub mod rows;
mod run;
pub mod screen;
pub mod theme;
pub mod ui;
pub mod view;

pub use run::{Options, Source, run};
