//! One universe: who lives where, what costs how much. Built from the world's
//! number alone and consistent by construction. This room must never know how
//! facts are put into words.

use std::collections::BTreeMap;

use crate::fact::{Entity, Fact, Relation};
use crate::rng::{Rng, hash};
use crate::size::Size;
use crate::words::{lore, names, things};

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) female: bool,
    pub(crate) home: usize,
    pub(crate) trade: &'static str,
    pub(crate) pet: &'static str,
    pub(crate) pet_name: &'static str,
    pub(crate) food: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) instrument: &'static str,
    pub(crate) friend: usize,
    pub(crate) fear: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) market_day: usize,
    pub(crate) known_for: &'static str,
    pub(crate) landmark: String,
    pub(crate) mayor: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) name: &'static str,
    pub(crate) seller: &'static str,
    pub(crate) price: i64,
}

/// An animal, its sound, its young and where it sleeps.
pub(crate) type Animal = (&'static str, &'static str, &'static str, &'static str);

#[derive(Clone, Debug)]
pub(crate) struct Universe {
    pub(crate) people: Vec<Person>,
    pub(crate) places: Vec<Place>,
    pub(crate) goods: Vec<Good>,
    pub(crate) animals: Vec<Animal>,
    /// A trade and its tool.
    pub(crate) trades: Vec<(&'static str, &'static str)>,
    /// A word and its opposite; each pair stands here in both directions.
    pub(crate) words: Vec<(&'static str, &'static str)>,
    pub(crate) facts: Vec<Fact>,
    index: BTreeMap<(Entity, Relation), usize>,
    values: BTreeMap<Relation, Vec<String>>,
}

/// The first `n` of a shuffled copy.
fn pick<T: Clone>(rng: &mut Rng, items: &[T], n: usize) -> Vec<T> {
    let mut items = items.to_vec();
    rng.shuffle(&mut items);
    items.truncate(n);
    items
}

/// `n` values that take every item of a shuffled list in turn, shuffled again:
/// as even as can be.
fn deal<T: Clone>(rng: &mut Rng, items: &[T], n: usize) -> Vec<T> {
    let shuffled = pick(rng, items, items.len());
    let mut dealt: Vec<T> = shuffled.iter().cycle().take(n).cloned().collect();
    rng.shuffle(&mut dealt);
    dealt
}

impl Universe {
    pub(crate) fn new(world: u64, size: Size) -> Self {
        let mut rng = Rng::new(&[0x0077_6f72_6c64, world]);
        let trades = pick(&mut rng, lore::TRADES, size.trades);
        let place_names = place_names(&mut rng, size.places);
        let people = people(&mut rng, &trades, size);
        let places = places(&mut rng, place_names, &people);
        let goods = goods(&mut rng, &trades, size.goods);
        let animals = pick(&mut rng, lore::ANIMALS, size.animals);
        let words = pick(&mut rng, lore::OPPOSITES, size.opposites)
            .into_iter()
            .flat_map(|(a, b)| [(a, b), (b, a)])
            .collect();
        let mut universe = Universe {
            people,
            places,
            goods,
            animals,
            trades,
            words,
            facts: Vec::new(),
            index: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        universe.collect_facts();
        universe
    }

    fn collect_facts(&mut self) {
        let mut facts = Vec::new();
        let mut add = |entity, relation, value: &str| {
            facts.push(Fact {
                entity,
                relation,
                value: value.to_string(),
            });
        };
        for (i, person) in self.people.iter().enumerate() {
            let entity = Entity::Person(i);
            add(entity, Relation::Home, &self.places[person.home].name);
            add(entity, Relation::Trade, person.trade);
            add(entity, Relation::Pet, person.pet);
            add(entity, Relation::PetName, person.pet_name);
            add(entity, Relation::Food, person.food);
            add(entity, Relation::Colour, person.colour);
            add(entity, Relation::Instrument, person.instrument);
            add(entity, Relation::Friend, self.people[person.friend].name);
            add(entity, Relation::Fear, person.fear);
            add(Entity::Pet(i), Relation::Owner, person.name);
        }
        for (i, place) in self.places.iter().enumerate() {
            let entity = Entity::Place(i);
            add(entity, Relation::MarketDay, things::DAYS[place.market_day]);
            add(entity, Relation::KnownFor, place.known_for);
            add(entity, Relation::Landmark, &place.landmark);
            add(entity, Relation::Mayor, self.people[place.mayor].name);
        }
        for (i, good) in self.goods.iter().enumerate() {
            add(Entity::Good(i), Relation::Price, &good.price.to_string());
            add(Entity::Good(i), Relation::Seller, good.seller);
        }
        for (i, &(_, sound, young, house)) in self.animals.iter().enumerate() {
            add(Entity::Animal(i), Relation::Sound, sound);
            add(Entity::Animal(i), Relation::Young, young);
            add(Entity::Animal(i), Relation::House, house);
        }
        for (i, &(_, tool)) in self.trades.iter().enumerate() {
            add(Entity::Trade(i), Relation::Tool, tool);
        }
        for i in 0..7 {
            add(Entity::Day(i), Relation::DayAfter, things::DAYS[(i + 1) % 7]);
            add(Entity::Day(i), Relation::DayBefore, things::DAYS[(i + 6) % 7]);
        }
        for (i, &(_, opposite)) in self.words.iter().enumerate() {
            add(Entity::Word(i), Relation::Opposite, opposite);
        }
        for (i, fact) in facts.iter().enumerate() {
            self.index.insert((fact.entity, fact.relation), i);
            let values = self.values.entry(fact.relation).or_default();
            if !values.contains(&fact.value) {
                values.push(fact.value.clone());
            }
        }
        self.facts = facts;
    }

    /// The fact of an entity and a relation that fits it.
    pub(crate) fn fact(&self, entity: Entity, relation: Relation) -> &Fact {
        &self.facts[self.index[&(entity, relation)]]
    }

    /// Every value that a relation takes in this world, each once.
    pub(crate) fn values(&self, relation: Relation) -> &[String] {
        &self.values[&relation]
    }

    /// The people of a village.
    pub(crate) fn residents(&self, place: usize) -> Vec<usize> {
        (0..self.people.len())
            .filter(|&i| self.people[i].home == place)
            .collect()
    }

    /// The name of an entity, without an article.
    pub(crate) fn name(&self, entity: Entity) -> &str {
        match entity {
            Entity::Person(i) => self.people[i].name,
            Entity::Pet(i) => self.people[i].pet_name,
            Entity::Place(i) => &self.places[i].name,
            Entity::Good(i) => self.goods[i].name,
            Entity::Animal(i) => self.animals[i].0,
            Entity::Trade(i) => self.trades[i].0,
            Entity::Day(i) => things::DAYS[i],
            Entity::Word(i) => self.words[i].0,
        }
    }

    /// Is this entity × relation kept for held-out multiple choice? One in five.
    pub(crate) fn choice_is_heldout(&self, fact: &Fact) -> bool {
        hash(&["choice", self.name(fact.entity), &format!("{:?}", fact.relation)]).is_multiple_of(5)
    }
}

fn place_names(rng: &mut Rng, n: usize) -> Vec<String> {
    let heads = deal(rng, names::PLACE_HEADS, n);
    let mut chosen: Vec<String> = Vec::with_capacity(n);
    for head in heads {
        loop {
            let tail = *rng.choose(names::PLACE_TAILS);
            let name = format!("{head}{tail}");
            if !head.eq_ignore_ascii_case(tail) && !chosen.contains(&name) {
                chosen.push(name);
                break;
            }
        }
    }
    chosen
}

fn people(rng: &mut Rng, trades: &[(&'static str, &'static str)], size: Size) -> Vec<Person> {
    let n = size.people;
    let women = n / 2;
    let mut cast: Vec<(&'static str, bool)> = pick(rng, names::WOMEN, women).into_iter().map(|w| (w, true)).collect();
    cast.extend(pick(rng, names::MEN, n - women).into_iter().map(|m| (m, false)));
    rng.shuffle(&mut cast);
    let pet_names = pick(rng, names::PETS, n);
    let places: Vec<usize> = (0..size.places).collect();
    let homes = deal(rng, &places, n);
    let jobs = deal(rng, trades, n);
    let pets = deal(rng, things::PETS, n);
    let foods = deal(rng, things::FOODS, n);
    let colours = deal(rng, things::COLOURS, n);
    let instruments = deal(rng, things::INSTRUMENTS, n);
    let order = {
        let everybody: Vec<usize> = (0..n).collect();
        pick(rng, &everybody, n)
    };
    let mut friends = vec![0; n];
    for pair in order.chunks_exact(2) {
        friends[pair[0]] = pair[1];
        friends[pair[1]] = pair[0];
    }
    let mut fears: Vec<&'static str> = things::FEARS.to_vec();
    fears.extend(things::PETS.iter().map(|&(_, plural)| plural));
    (0..n)
        .map(|i| {
            let (pet, plural) = pets[i];
            let fear = loop {
                let fear = *rng.choose(&fears);
                if fear != plural {
                    break fear;
                }
            };
            Person {
                name: cast[i].0,
                female: cast[i].1,
                home: homes[i],
                trade: jobs[i].0,
                pet,
                pet_name: pet_names[i],
                food: foods[i],
                colour: colours[i],
                instrument: instruments[i],
                friend: friends[i],
                fear,
            }
        })
        .collect()
}

fn places(rng: &mut Rng, names: Vec<String>, people: &[Person]) -> Vec<Place> {
    let n = names.len();
    let days = deal(rng, &[0, 1, 2, 3, 4, 5, 6], n);
    let specialities = deal(rng, things::SPECIALITIES, n);
    let kinds = deal(rng, things::LANDMARK_KINDS, n);
    let landmarks = deal(rng, things::LANDMARKS, n);
    names
        .into_iter()
        .enumerate()
        .map(|(i, name)| {
            let residents: Vec<usize> = (0..people.len()).filter(|&p| people[p].home == i).collect();
            Place {
                name,
                market_day: days[i],
                known_for: specialities[i],
                landmark: format!("{} {}", kinds[i], landmarks[i]),
                mayor: *rng.choose(&residents),
            }
        })
        .collect()
}

fn goods(rng: &mut Rng, trades: &[(&'static str, &'static str)], n: usize) -> Vec<Good> {
    let sold: Vec<(&'static str, &'static str)> = lore::GOODS
        .iter()
        .filter(|(_, seller)| trades.iter().any(|(trade, _)| trade == seller))
        .copied()
        .collect();
    pick(rng, &sold, n)
        .into_iter()
        .map(|(name, seller)| Good {
            name,
            seller,
            price: rng.between(2, 30),
        })
        .collect()
}
