//! The configuration document: what it may say, read and checked whole.
//!
//! A document is TOML (`switch.toml(5)`).

pub mod model;

pub use model::Config;
