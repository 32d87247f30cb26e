//! The GPT.
