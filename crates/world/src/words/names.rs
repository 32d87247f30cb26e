//! Names of people, pets and villages. They are common English words and names
//! so that a small vocabulary of tokens covers them.

/// Women and girls.
pub(crate) const WOMEN: &[&str] = &[
    "Ada", "Agnes", "Alice", "Alma", "Amy", "Anna", "Anya", "April", "Astrid", "Ava", "Bella", "Bertha", "Beth",
    "Betty", "Bonnie", "Brenda", "Bridget", "Carla", "Carmen", "Cecily", "Celia", "Clara", "Cora", "Daisy", "Dana",
    "Daphne", "Della", "Dina", "Dora", "Doris", "Edith", "Ella", "Elsa", "Elsie", "Emma", "Erica", "Esme", "Esther",
    "Etta", "Eva", "Faith", "Fern", "Fiona", "Flora", "Freda", "Freya", "Gail", "Gemma", "Gerda", "Gina", "Gloria",
    "Grace", "Greta", "Hanna", "Hazel", "Heidi", "Helen", "Hilda", "Holly", "Ida", "Ines", "Inga", "Iris", "Isla",
    "Ivy", "Jane", "Janet", "Jenny", "Jill", "Joan", "Josie", "Joy", "Judith", "Julia", "June", "Karin", "Kate",
    "Kira", "Lara", "Laura", "Leah", "Lena", "Lily", "Lina", "Liza", "Lola", "Lotte", "Lucy", "Luna", "Mabel", "Magda",
    "Maggie", "Mara", "Marie", "Martha", "Mary", "Maud", "May", "Mila", "Mina", "Mira", "Molly", "Mona", "Myra",
    "Nadia", "Nancy", "Nell", "Nina", "Nora", "Olga", "Olive", "Opal", "Paula", "Pearl", "Petra", "Phoebe", "Polly",
    "Prue", "Rhea", "Rita", "Rosa", "Rose", "Ruby", "Ruth", "Sally", "Sandra", "Selma", "Sonia", "Stella", "Sylvia",
    "Tara", "Tess", "Thea", "Tilda", "Tina", "Trudy", "Una", "Vera", "Viola", "Wanda", "Wilma", "Yara", "Zelda", "Zoe",
];

/// Men and boys.
pub(crate) const MEN: &[&str] = &[
    "Abel", "Adam", "Albert", "Aldo", "Alec", "Alvin", "Amos", "Andy", "Anton", "Arlo", "Arthur", "Axel", "Barney",
    "Basil", "Ben", "Bert", "Bill", "Bob", "Boris", "Bruno", "Caleb", "Carl", "Casper", "Cecil", "Clem", "Colin",
    "Conrad", "Cyril", "Dan", "Daniel", "David", "Dennis", "Dirk", "Dominic", "Duncan", "Earl", "Eddie", "Edgar",
    "Edwin", "Egon", "Eli", "Emil", "Eric", "Ernest", "Erwin", "Ezra", "Felix", "Finn", "Floyd", "Frank", "Franz",
    "Fred", "Gabe", "George", "Gideon", "Gilbert", "Gordon", "Gus", "Guy", "Hans", "Harold", "Harry", "Hector",
    "Henry", "Herman", "Homer", "Horace", "Hubert", "Hugo", "Ian", "Igor", "Ivan", "Jack", "Jacob", "Jasper", "Jim",
    "Joel", "John", "Jonas", "Josef", "Karl", "Keith", "Kurt", "Lars", "Leo", "Leon", "Levi", "Linus", "Lloyd",
    "Louis", "Luke", "Magnus", "Marco", "Mark", "Martin", "Matt", "Max", "Milo", "Morris", "Moses", "Ned", "Neil",
    "Nestor", "Niels", "Noah", "Norman", "Olaf", "Oliver", "Omar", "Orson", "Oscar", "Oswald", "Otis", "Otto", "Owen",
    "Paul", "Percy", "Peter", "Philip", "Pierre", "Quentin", "Ralph", "Ray", "Rex", "Robert", "Robin", "Roland", "Roy",
    "Rufus", "Sam", "Seth", "Silas", "Simon", "Stan", "Sven", "Ted", "Theo", "Thomas", "Tim", "Toby", "Tom", "Tony",
    "Ulf", "Victor", "Vince", "Walter", "Wilbur", "Will", "Xaver", "Yuri", "Zack",
];

/// Pets: no name is also a person's name, and each pet in a world has its own.
pub(crate) const PETS: &[&str] = &[
    "Acorn", "Admiral", "Almond", "Amber", "Anchor", "Apple", "Arrow", "Ash", "Badger", "Bagel", "Bandit", "Banjo",
    "Barley", "Baron", "Beacon", "Bean", "Bear", "Beetle", "Berry", "Biscuit", "Blaze", "Blossom", "Bobbin", "Bonnet",
    "Boots", "Bounce", "Bramble", "Brandy", "Brick", "Bubble", "Bucket", "Bumble", "Butter", "Button", "Cabbage",
    "Candle", "Caper", "Captain", "Caramel", "Carrot", "Cashew", "Cedar", "Chalk", "Checkers", "Cherry", "Chestnut",
    "Chilli", "Chip", "Cider", "Cinder", "Clover", "Cloud", "Cobble", "Cocoa", "Comet", "Cookie", "Copper", "Coral",
    "Cotton", "Cracker", "Cricket", "Crumb", "Crumpet", "Custard", "Dandy", "Dash", "Diamond", "Dibble", "Domino",
    "Doodle", "Drum", "Duchess", "Duke", "Dumpling", "Dusty", "Echo", "Ember", "Fable", "Feather", "Fiddle", "Fidget",
    "Fig", "Flake", "Flash", "Flint", "Fluff", "Fog", "Freckle", "Frost", "Fudge", "Gadget", "Garlic", "General",
    "Ginger", "Gravy", "Grumble", "Gumdrop", "Hiccup", "Honey", "Hopper", "Icicle", "Inky", "Jelly", "Jester",
    "Jigsaw", "Jingle", "Juniper", "Kettle", "King", "Ladle", "Lantern", "Lavender", "Lemon", "Lentil", "Lettuce",
    "Licorice", "Lucky", "Lumpy", "Magpie", "Major", "Mango", "Maple", "Marble", "Meadow", "Melon", "Mischief",
    "Misty", "Mitten", "Mocha", "Moon", "Moss", "Muddle", "Muffin", "Mustard", "Nibble", "Noodle", "Nougat", "Nugget",
    "Nutmeg", "Oatmeal", "Olympus", "Onion", "Onyx", "Orbit", "Oyster", "Paddle", "Pancake", "Panda", "Parsley",
    "Patch", "Peach", "Peanut", "Pebble", "Pepper", "Pickle", "Pigeon", "Pip", "Pirate", "Plum", "Pocket", "Popcorn",
    "Potato", "Prince", "Pudding", "Puddle", "Puff", "Pumpkin", "Puzzle", "Quill", "Rabbit", "Radish", "Raisin",
    "Rascal", "Ribbon", "Riddle", "Ripple", "Rocket", "Rusty", "Saffron", "Sage", "Salty", "Sandy", "Satin", "Sausage",
    "Scamp", "Shadow", "Silver", "Skipper", "Smoke", "Smudge", "Snap", "Sneeze", "Snow", "Socks", "Sorrel", "Speck",
    "Spinach", "Splash", "Spoon", "Sprout", "Squash", "Star", "Sticky", "Storm", "Sugar", "Sultan", "Sunny", "Swift",
    "Syrup", "Taffy", "Tango", "Tartan", "Teapot", "Thistle", "Thimble", "Thunder", "Tickle", "Tiger", "Toast",
    "Toffee", "Tomato", "Trumpet", "Tulip", "Tumble", "Turnip", "Twig", "Twinkle", "Umber", "Vanilla", "Velvet",
    "Waffle", "Wagon", "Walnut", "Whisker", "Whisper", "Willow", "Wink", "Wobble", "Yogurt", "Ziggy", "Zigzag",
];

/// First halves of the names of villages.
pub(crate) const PLACE_HEADS: &[&str] = &[
    "Apple", "Ash", "Badger", "Birch", "Black", "Bramble", "Clover", "Cold", "Copper", "Crow", "Elder", "Fern", "Fox",
    "Goose", "Green", "Hare", "Hazel", "High", "Honey", "Long", "Mill", "Moss", "Nettle", "Oak", "Otter", "Owl",
    "Pebble", "Plum", "Red", "Salt", "Silver", "Snow", "Stone", "Thorn", "Toad", "White", "Willow", "Wind", "Winter",
    "Wood",
];

/// Second halves of the names of villages.
pub(crate) const PLACE_TAILS: &[&str] = &[
    "bridge", "brook", "bury", "dale", "field", "ford", "gate", "ham", "hill", "hollow", "marsh", "mouth", "ton",
    "well", "wick", "wood",
];
