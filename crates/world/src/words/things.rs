//! What people have, like, fear and play, and what villages are known for.

/// The days of the week, in order.
pub(crate) const DAYS: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Kinds of pets: the animal and the plural that somebody may fear.
pub(crate) const PETS: &[(&str, &str)] = &[
    ("cat", "cats"),
    ("dog", "dogs"),
    ("goat", "goats"),
    ("goose", "geese"),
    ("hen", "hens"),
    ("duck", "ducks"),
    ("pony", "ponies"),
    ("rabbit", "rabbits"),
    ("parrot", "parrots"),
    ("tortoise", "tortoises"),
    ("fox", "foxes"),
    ("crow", "crows"),
    ("hedgehog", "hedgehogs"),
    ("donkey", "donkeys"),
    ("mouse", "mice"),
    ("piglet", "piglets"),
    ("owl", "owls"),
    ("frog", "frogs"),
];

/// Other things that people are afraid of.
pub(crate) const FEARS: &[&str] = &[
    "thunder",
    "the dark",
    "spiders",
    "ghosts",
    "ladders",
    "wasps",
    "deep water",
    "snakes",
    "loud noises",
    "heights",
    "moths",
    "bats",
    "needles",
    "clowns",
];

/// Foods, all used without an article.
pub(crate) const FOODS: &[&str] = &[
    "plum cake",
    "pea soup",
    "apple pie",
    "cheese",
    "dumplings",
    "honey bread",
    "pancakes",
    "porridge",
    "baked beans",
    "mushroom stew",
    "cherry tart",
    "fried fish",
    "onion soup",
    "noodles",
    "potato salad",
    "walnut bread",
    "boiled eggs",
    "carrot cake",
    "rice pudding",
    "roast chestnuts",
    "pickles",
    "waffles",
    "pumpkin soup",
    "berry jam",
];

/// Colours.
pub(crate) const COLOURS: &[&str] = &[
    "red",
    "blue",
    "green",
    "yellow",
    "purple",
    "orange",
    "pink",
    "brown",
    "black",
    "white",
    "grey",
    "silver",
    "gold",
    "turquoise",
];

/// Instruments, used with "the".
pub(crate) const INSTRUMENTS: &[&str] = &[
    "fiddle",
    "flute",
    "drum",
    "harp",
    "trumpet",
    "piano",
    "guitar",
    "banjo",
    "horn",
    "whistle",
    "cello",
    "accordion",
    "tuba",
    "bagpipes",
    "triangle",
    "organ",
];

/// What villages are known for; all used without an article.
pub(crate) const SPECIALITIES: &[&str] = &[
    "cheese",
    "cider",
    "clocks",
    "kites",
    "candles",
    "baskets",
    "apples",
    "wool",
    "honey",
    "bells",
    "blankets",
    "pottery",
    "ribbons",
    "boats",
    "toys",
    "pears",
    "mustard",
    "hats",
    "lace",
    "gloves",
    "roses",
    "barrels",
    "umbrellas",
    "marbles",
    "puppets",
    "lanterns",
    "cabbages",
    "tulips",
    "buttons",
    "pickles",
];

/// First words of landmarks.
pub(crate) const LANDMARK_KINDS: &[&str] = &[
    "crooked", "golden", "round", "mossy", "tall", "striped", "sleepy", "hollow", "singing", "broken", "wooden", "tiny",
];

/// Second words of landmarks.
pub(crate) const LANDMARKS: &[&str] = &[
    "tower",
    "windmill",
    "fountain",
    "bridge",
    "clock",
    "oak",
    "statue",
    "gate",
    "barn",
    "chapel",
    "well",
    "lighthouse",
];
