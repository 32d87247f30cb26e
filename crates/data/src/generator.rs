//! A little English out of nothing, for a first run without any data: people,
//! pets, towns, markets, opposites, sums and spellings that agree with each
//! other. This room knows sentences; it must never know of files or tokens.

use std::fmt::Write as _;

use crate::rng::SplitMix64;

const NAMES: &[&str] = &[
    "Ada", "Ben", "Clara", "Daniel", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Karin", "Leo", "Mira", "Nils",
    "Olga", "Paul", "Rosa", "Simon", "Tilda", "Victor", "Wanda", "Yusuf",
];
const TRADES: &[(&str, &str)] = &[
    ("baker", "bakes bread"),
    ("carpenter", "builds tables"),
    ("gardener", "grows roses"),
    ("teacher", "teaches children to read"),
    ("fisher", "catches herring"),
    ("tailor", "sews coats"),
    ("doctor", "looks after the sick"),
    ("clockmaker", "mends old clocks"),
    ("beekeeper", "sells honey"),
    ("painter", "paints boats and doors"),
];
const TOWNS: &[(&str, &str)] = &[
    ("Marlow", "by the sea"),
    ("Oakfield", "between two forests"),
    ("Stonebridge", "on a wide river"),
    ("Highmoor", "high in the mountains"),
    ("Lindale", "in a green valley"),
    ("Saltby", "on a small island"),
];
const ANIMALS: &[(&str, &str)] = &[
    ("cat", "purrs"),
    ("dog", "barks at the moon"),
    ("parrot", "repeats every word"),
    ("goat", "eats everything"),
    ("hen", "lays one egg a day"),
    ("pony", "likes apples"),
    ("tortoise", "is never in a hurry"),
    ("duck", "follows people home"),
];
const PET_NAMES: &[&str] = &[
    "Biscuit",
    "Button",
    "Captain",
    "Cloud",
    "Ginger",
    "Mister Green",
    "Pepper",
    "Professor",
    "Socks",
    "Thunder",
];
const COLOURS: &[&str] = &["red", "blue", "green", "yellow", "white", "black", "brown"];
const FOODS: &[&str] = &[
    "soup",
    "pancakes",
    "cheese",
    "plums",
    "fried fish",
    "apple cake",
    "dumplings",
];
const GOODS: &[(&str, &str)] = &[
    ("apple", "apples"),
    ("candle", "candles"),
    ("egg", "eggs"),
    ("lamp", "lamps"),
    ("basket", "baskets"),
    ("pear", "pears"),
    ("rope", "ropes"),
    ("spoon", "spoons"),
];
const OPPOSITES: &[(&str, &str)] = &[
    ("hot", "cold"),
    ("big", "small"),
    ("early", "late"),
    ("light", "dark"),
    ("wet", "dry"),
    ("full", "empty"),
    ("near", "far"),
    ("loud", "quiet"),
    ("old", "new"),
    ("fast", "slow"),
];
const DAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// What is true of one person, the same in every document of a text.
struct Person {
    name: &'static str,
    trade: (&'static str, &'static str),
    town: (&'static str, &'static str),
    animal: (&'static str, &'static str),
    pet: &'static str,
    colour: &'static str,
    food: &'static str,
    age: u64,
}

struct World {
    rng: SplitMix64,
    people: Vec<Person>,
    /// Price of each of [`GOODS`] in pennies.
    prices: Vec<u64>,
}

/// At least `bytes` bytes of simple English, fixed by `seed`: short documents
/// separated by blank lines, ending with a newline. The same seed gives the
/// same facts at any length, and a longer text begins with the shorter one.
pub fn small_text(seed: u64, bytes: usize) -> String {
    let mut world = World::new(seed);
    let mut text = String::with_capacity(bytes + 1024);
    while text.len() < bytes {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&world.document());
        text.push('\n');
    }
    text
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        let people = NAMES
            .iter()
            .map(|&name| Person {
                name,
                trade: rng.pick(TRADES),
                town: rng.pick(TOWNS),
                animal: rng.pick(ANIMALS),
                pet: rng.pick(PET_NAMES),
                colour: rng.pick(COLOURS),
                food: rng.pick(FOODS),
                age: 20 + rng.below(60),
            })
            .collect();
        let prices = GOODS.iter().map(|_| 2 + rng.below(9)).collect();
        World { rng, people, prices }
    }

    fn document(&mut self) -> String {
        let who = self.rng.below(self.people.len() as u64) as usize;
        match self.rng.below(8) {
            0 | 1 => self.portrait(who),
            2 => self.pet_story(who),
            3 => self.market(who),
            4 => self.opposites(),
            5 => self.week(who),
            6 => self.spelling(),
            _ => self.questions(who),
        }
    }

    fn portrait(&mut self, who: usize) -> String {
        let person = &self.people[who];
        let (name, (trade, work)) = (person.name, person.trade);
        let (town, place) = person.town;
        let mut text = match self.rng.below(3) {
            0 => format!("{name} is a {trade} and lives in {town}, a town {place}."),
            1 => format!("In {town}, {place}, there lives a {trade} called {name}."),
            _ => format!("{name} comes from {town}. The town lies {place}."),
        };
        let _ = match self.rng.below(3) {
            0 => write!(text, " Every day {name} {work}."),
            1 => write!(text, " A {trade} {work}, and {name} does it well."),
            _ => write!(text, " {name} {work} and is {} years old.", person.age),
        };
        let mut extras = [
            format!(" The door of the house is {}.", person.colour),
            format!(" For supper {name} has {}.", person.food),
            format!(" {name} has a {} called {}.", person.animal.0, person.pet),
        ];
        let first = self.rng.below(3) as usize;
        extras.swap(0, first);
        for extra in &extras[..=self.rng.below(3) as usize] {
            text.push_str(extra);
        }
        text
    }

    fn pet_story(&mut self, who: usize) -> String {
        let person = &self.people[who];
        let (name, pet, (animal, habit)) = (person.name, person.pet, person.animal);
        let other = self.rng.below(self.people.len() as u64) as usize;
        let friend = if other == who {
            "the neighbour"
        } else {
            self.people[other].name
        };
        let day = self.rng.pick(DAYS);
        let hiding = self.rng.pick(&[
            "under the bed",
            "in the kitchen",
            "behind the church",
            "in a boat",
            "on the roof",
        ]);
        let end = self.rng.pick(&[
            "Everybody laughed, and they went home together.",
            "They shared a piece of cake and forgot the whole matter.",
            "Since that day the gate has been kept shut.",
        ]);
        format!(
            "{pet} is a {animal}. Like every {animal}, {pet} {habit}. One {day} {pet} was gone. \
             {name} looked everywhere and asked {friend}. \"Have you seen my {animal}?\" \
             \"Yes,\" said {friend}, \"{pet} is {hiding}.\" {end}"
        )
    }

    fn market(&mut self, who: usize) -> String {
        let name = self.people[who].name;
        let index = self.rng.below(GOODS.len() as u64) as usize;
        let ((one, many), price) = (GOODS[index], self.prices[index]);
        let count = 2 + self.rng.below(8);
        let total = count * price;
        let gift = 1 + self.rng.below(count - 1);
        let left = count - gift;
        let (left_goods, verb) = match left {
            1 => (one, "is"),
            _ => (many, "are"),
        };
        let an = article(one);
        let mut text = format!(
            "{} {one} costs {price} pennies at the market. {name} buys {count} {many} and pays \
             {count} times {price}, which is {total} pennies.",
            capital(an)
        );
        if self.rng.below(2) == 0 {
            let _ = write!(
                text,
                " {name} gives {gift} of them away. {count} minus {gift} is {left}, so {left} \
                 {left_goods} {verb} left."
            );
        }
        text
    }

    fn opposites(&mut self) -> String {
        let mut text = String::new();
        for line in 0..=self.rng.below(3) {
            let (mut a, mut b) = self.rng.pick(OPPOSITES);
            if self.rng.below(2) == 0 {
                (a, b) = (b, a);
            }
            if line > 0 {
                text.push(' ');
            }
            let _ = match self.rng.below(3) {
                0 => write!(text, "The opposite of {a} is {b}."),
                1 => write!(text, "What is not {a} is {b}."),
                _ => write!(text, "{} and {b} are opposites.", capital(a)),
            };
        }
        text
    }

    fn week(&mut self, who: usize) -> String {
        let person = &self.people[who];
        let (name, work) = (person.name, person.trade.1);
        let today = self.rng.below(7) as usize;
        let (before, after) = (DAYS[(today + 6) % 7], DAYS[(today + 1) % 7]);
        let today = DAYS[today];
        match self.rng.below(3) {
            0 => format!("If today is {today}, yesterday was {before} and tomorrow is {after}."),
            1 => format!("On {before} {name} {work}. On {today} {name} rests. On {after} {name} {work} again."),
            _ => format!("{today} comes after {before} and before {after}."),
        }
    }

    fn spelling(&mut self) -> String {
        let word = match self.rng.below(4) {
            0 => self.rng.pick(ANIMALS).0,
            1 => self.rng.pick(GOODS).0,
            2 => self.rng.pick(COLOURS),
            _ => self.rng.pick(OPPOSITES).0,
        };
        let letters: Vec<String> = word.chars().map(String::from).collect();
        let (spelled, count) = (letters.join(", "), letters.len());
        match self.rng.below(2) {
            0 => format!("The word {word} is spelled {spelled}. It has {count} letters."),
            _ => format!("{spelled}: these {count} letters make the word {word}."),
        }
    }

    fn questions(&mut self, who: usize) -> String {
        let person = &self.people[who];
        let name = person.name;
        let mut pairs = [
            (format!("Where does {name} live?"), format!("In {}.", person.town.0)),
            (
                format!("What is the work of {name}?"),
                format!("{name} is a {} and {}.", person.trade.0, person.trade.1),
            ),
            (
                format!("What is the {} of {name} called?", person.animal.0),
                format!("It is called {}.", person.pet),
            ),
            (
                format!("What does {name} like to eat?"),
                format!("{}.", capital(person.food)),
            ),
            (
                format!("What colour is the door of {name}'s house?"),
                format!("It is {}.", person.colour),
            ),
        ];
        let mut text = String::new();
        for line in 0..=self.rng.below(3) as usize {
            let pick = line + self.rng.below((pairs.len() - line) as u64) as usize;
            pairs.swap(line, pick);
            let (question, answer) = &pairs[line];
            if line > 0 {
                text.push('\n');
            }
            let _ = write!(text, "{question} {answer}");
        }
        text
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_fixes_the_text_and_a_longer_one_begins_with_the_shorter() {
        let short = small_text(7, 5_000);
        assert!((5_000..6_500).contains(&short.len()));
        assert!(small_text(7, 50_000).starts_with(&short));
        assert_ne!(small_text(8, 5_000), short);
        assert!(short.ends_with('\n') && short.is_ascii());
    }

    #[test]
    fn documents_are_short_varied_and_separated_by_one_blank_line() {
        let text = small_text(1, 200_000);
        assert!(!text.contains("\n\n\n"));
        let documents: Vec<&str> = text.split("\n\n").collect();
        assert!(documents.len() > 500);
        assert!(documents.iter().all(|text| text.trim().len() > 20 && text.len() < 600));
        let distinct: std::collections::HashSet<_> = documents.iter().collect();
        assert!(distinct.len() * 2 > documents.len(), "{} distinct", distinct.len());
    }

    #[test]
    fn facts_agree_and_sums_are_right() {
        let text = small_text(3, 200_000);
        let mut towns = std::collections::HashMap::new();
        let mut sums = 0;
        for line in text.lines() {
            if let Some(rest) = line.split("Where does ").nth(1) {
                let (name, rest) = rest.split_once(" live? In ").unwrap();
                let town = rest.split('.').next().unwrap();
                assert_eq!(*towns.entry(name).or_insert(town), town);
            }
            if let Some((head, tail)) = line.split_once(", which is ") {
                let numbers: Vec<u64> = head.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                let total: u64 = tail.split_whitespace().next().unwrap().parse().unwrap();
                let [.., count, price] = numbers[..] else {
                    panic!("{line}")
                };
                assert_eq!(count * price, total);
                sums += 1;
            }
        }
        assert!(towns.len() > 15 && sums > 50);
    }
}
