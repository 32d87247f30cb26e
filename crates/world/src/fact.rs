//! What can be known in the world: entities, relations and facts. This room
//! must never know how a fact is put into words.

use serde::{Deserialize, Serialize};

/// Something that facts are about; the number is its place in the universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A person.
    Person(usize),
    /// The pet of the person of that number.
    Pet(usize),
    /// A village.
    Place(usize),
    /// Something for sale.
    Good(usize),
    /// A kind of animal.
    Animal(usize),
    /// A trade.
    Trade(usize),
    /// A day of the week, 0 is Monday.
    Day(usize),
    /// A word that has an opposite.
    Word(usize),
}

/// What a fact says of its entity. Every relation is a function: an entity has
/// one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Person → village.
    Home,
    /// Person → trade.
    Trade,
    /// Person → kind of pet.
    Pet,
    /// Person → name of the pet; the inverse of [`Relation::Owner`].
    PetName,
    /// Person → favourite food.
    Food,
    /// Person → favourite colour.
    Colour,
    /// Person → instrument.
    Instrument,
    /// Person → best friend; its own inverse.
    Friend,
    /// Person → what they are afraid of, never their own kind of pet.
    Fear,
    /// Pet → person; the inverse of [`Relation::PetName`].
    Owner,
    /// Village → day of its market.
    MarketDay,
    /// Village → what it is known for.
    KnownFor,
    /// Village → what stands in its middle.
    Landmark,
    /// Village → mayor, who lives there.
    Mayor,
    /// Good → coins.
    Price,
    /// Good → trade that sells it.
    Seller,
    /// Animal → what it says.
    Sound,
    /// Animal → its young.
    Young,
    /// Animal → where it sleeps.
    House,
    /// Trade → tool.
    Tool,
    /// Day → the next one; the inverse of [`Relation::DayBefore`].
    DayAfter,
    /// Day → the one before.
    DayBefore,
    /// Word → opposite; its own inverse.
    Opposite,
}

impl Relation {
    /// Every relation, in a fixed order.
    pub const ALL: [Relation; 23] = [
        Relation::Home,
        Relation::Trade,
        Relation::Pet,
        Relation::PetName,
        Relation::Food,
        Relation::Colour,
        Relation::Instrument,
        Relation::Friend,
        Relation::Fear,
        Relation::Owner,
        Relation::MarketDay,
        Relation::KnownFor,
        Relation::Landmark,
        Relation::Mayor,
        Relation::Price,
        Relation::Seller,
        Relation::Sound,
        Relation::Young,
        Relation::House,
        Relation::Tool,
        Relation::DayAfter,
        Relation::DayBefore,
        Relation::Opposite,
    ];

    /// Those whose entity is a person.
    pub(crate) const OF_PEOPLE: [Relation; 9] = [
        Relation::Home,
        Relation::Trade,
        Relation::Pet,
        Relation::PetName,
        Relation::Food,
        Relation::Colour,
        Relation::Instrument,
        Relation::Friend,
        Relation::Fear,
    ];

    /// Those whose entity is a village.
    pub(crate) const OF_PLACES: [Relation; 4] = [
        Relation::MarketDay,
        Relation::KnownFor,
        Relation::Landmark,
        Relation::Mayor,
    ];
}

/// One fact: `relation(entity) = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub entity: Entity,
    /// What is said of it.
    pub relation: Relation,
    /// The value without an article, as it must stand in a right answer; for a
    /// price the number alone.
    pub value: String,
}
