//! What a piece of text means, and how that looks.
//!
//! Panels name tones, never colours. Every tone can also be told apart without
//! colour: by weight, by reversal, or by the word or symbol that carries it.

mod color_depth;
mod environment;
mod palette;
mod themes;
mod tone;

pub use color_depth::ColorDepth;
pub use environment::TerminalEnvironment;
pub use themes::Theme;
pub(crate) use tone::Tone;
