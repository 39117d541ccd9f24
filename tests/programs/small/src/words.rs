//! A second file, so that there is something to resolve.

/// The words of the line.
pub fn both() -> Vec<String> {
    ["built", "inside"].map(str::to_owned).to_vec()
}
