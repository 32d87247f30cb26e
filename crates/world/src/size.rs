//! How large a world is. This room must never know what its numbers count.

use std::fmt;
use std::str::FromStr;

use crate::error::WorldError;

/// The size of a world, in things. Use one of the named sizes, or change their
/// fields; [`Size::check`] says what is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// People, an even number (everybody has a best friend): ten facts each.
    pub people: usize,
    /// Villages: four facts each.
    pub places: usize,
    /// Goods: two facts each. A world has fewer when its trades sell fewer.
    pub goods: usize,
    /// Animals: three facts each.
    pub animals: usize,
    /// Trades: one fact each.
    pub trades: usize,
    /// Pairs of opposites: two facts each.
    pub opposites: usize,
    /// Words to spell.
    pub words: usize,
    /// The largest number in a sum.
    pub largest_operand: i64,
}

impl Size {
    /// About 500 facts: a model of a million parameters learns them in minutes.
    pub const SMALL: Size = Size {
        people: 32,
        places: 8,
        goods: 16,
        animals: 12,
        trades: 16,
        opposites: 24,
        words: 240,
        largest_operand: 99,
    };

    /// About 1,100 facts.
    pub const MEDIUM: Size = Size {
        people: 80,
        places: 16,
        goods: 24,
        animals: 18,
        trades: 20,
        opposites: 36,
        words: 320,
        largest_operand: 99,
    };

    /// About 2,900 facts.
    pub const FULL: Size = Size {
        people: 240,
        places: 40,
        goods: 34,
        animals: 24,
        trades: 26,
        opposites: 50,
        words: 1000,
        largest_operand: 999,
    };

    /// Refuses sizes that the word lists cannot fill, naming the field.
    pub fn check(&self) -> Result<(), WorldError> {
        let limits = [
            ("people", self.people, 8, 240),
            ("places", self.places, 4, 60.min(self.people / 2)),
            ("goods", self.goods, 4, 34),
            ("animals", self.animals, 6, 24),
            ("trades", self.trades, 8, 26),
            ("opposites", self.opposites, 4, 50),
            ("words", self.words, 20, 1000),
            (
                "largest_operand",
                usize::try_from(self.largest_operand).unwrap_or(0),
                20,
                99_999,
            ),
        ];
        for (field, value, low, high) in limits {
            if value < low || value > high {
                return Err(WorldError::Size {
                    field,
                    value,
                    low,
                    high,
                });
            }
        }
        if self.people % 2 == 1 {
            return Err(WorldError::OddPeople(self.people));
        }
        Ok(())
    }
}

impl FromStr for Size {
    type Err = WorldError;

    fn from_str(name: &str) -> Result<Self, WorldError> {
        match name {
            "small" => Ok(Size::SMALL),
            "medium" => Ok(Size::MEDIUM),
            "full" => Ok(Size::FULL),
            _ => Err(WorldError::SizeName(name.to_string())),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Size::SMALL => f.write_str("small"),
            Size::MEDIUM => f.write_str("medium"),
            Size::FULL => f.write_str("full"),
            Size { people, places, .. } => write!(f, "{people} people in {places} villages"),
        }
    }
}
