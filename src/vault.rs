//! STUB
pub mod file {
    //! STUB
    /// STUB
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SizeRule {
        /// STUB
        Grow,
        /// STUB
        Keep,
    }
}
