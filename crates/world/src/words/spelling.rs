//! Words to spell, beside those of the other lists: short and common.

/// Common words of three to eight letters.
pub const WORDS: &[&str] = &[
    "ant", "apple", "arm", "autumn", "bag", "ball", "barn", "basket", "bath", "bean", "bed", "bell", "bird", "board",
    "boat", "bone", "book", "boot", "bottle", "bowl", "box", "branch", "bread", "bridge", "broom", "brother", "brush",
    "bucket", "button", "cake", "candle", "carrot", "cart", "castle", "chair", "cheese", "cherry", "circle", "clock",
    "cloud", "coat", "coin", "corn", "cup", "curtain", "door", "dragon", "dream", "drum", "ear", "egg", "elbow", "eye",
    "farm", "feather", "fence", "field", "finger", "fire", "fish", "flag", "flower", "foot", "forest", "fork",
    "friend", "frog", "fruit", "garden", "gate", "ghost", "giant", "glass", "glove", "grass", "hammer", "hand", "hat",
    "heart", "hill", "honey", "horse", "house", "island", "jacket", "jar", "key", "king", "kitchen", "kite", "knee",
    "knife", "ladder", "lake", "lamp", "leaf", "leg", "lemon", "letter", "lock", "map", "market", "milk", "mirror",
    "moon", "morning", "mother", "mountain", "mouth", "nail", "neck", "needle", "nest", "night", "nose", "nut",
    "ocean", "onion", "orange", "oven", "paper", "parrot", "path", "pear", "pencil", "pepper", "pillow", "pipe",
    "plate", "pocket", "pond", "potato", "puddle", "queen", "rain", "ribbon", "ring", "river", "road", "rock", "roof",
    "room", "root", "rope", "salt", "sand", "school", "scissors", "seed", "shadow", "shelf", "ship", "shirt", "shoe",
    "silver", "sister", "sky", "sleep", "smile", "smoke", "snail", "snow", "soap", "sock", "song", "soup", "spider",
    "spoon", "spring", "star", "stone", "storm", "story", "street", "sugar", "sun", "table", "tail", "tea", "thumb",
    "thunder", "tiger", "toast", "tooth", "towel", "tower", "town", "train", "tree", "turnip", "valley", "village",
    "wagon", "wall", "water", "wave", "wheel", "whistle", "wind", "window", "wing", "winter", "witch", "wood", "wool",
    "world", "yard", "zebra",
];
