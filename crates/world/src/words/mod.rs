//! The words the world is made of. Lists only; this room must never know what
//! is done with them. Each world takes its own choice from them, so lists may
//! grow at the end but a change of order makes other worlds.

pub(crate) mod lore;
pub(crate) mod names;
pub(crate) mod off_topic;
pub(crate) mod spelling;
pub(crate) mod things;
