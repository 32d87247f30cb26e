//! Bytes to ids and back.
