//! A token of a conversation in one number: its id, and in the highest bit
//! whether it is learned. So conversations go through the same packers and the
//! same saved state as documents.

const LEARNED: u32 = 1 << 31;

/// `id` with the mark of a target.
pub(crate) fn learned(id: u32) -> u32 {
    id | LEARNED
}

/// The id alone.
pub(crate) fn id(token: u32) -> u32 {
    token & !LEARNED
}

/// The id if it is learned, else −1.
pub(crate) fn target(token: u32) -> i32 {
    if token & LEARNED == 0 { -1 } else { id(token) as i32 }
}
