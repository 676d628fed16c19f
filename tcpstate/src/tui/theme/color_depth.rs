//! How many colours a terminal has.

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorDepth {
    /// The sixteen that it or its user chose.
    Sixteen,
    /// 256 or more.
    #[default]
    Many,
}
