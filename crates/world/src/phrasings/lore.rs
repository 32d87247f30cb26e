//! The words for goods, animals, trades, days and opposites.

use super::Phrases;

pub(super) const PRICE: Phrases = Phrases {
    questions: &[
        "How much is {e}?",
        "What does {e} cost?",
        "How many coins is {e}?",
        "How many coins do I need for {e}?",
        "What is the price of {e}?",
        "How much does {e} cost at the market?",
        "What do I pay for {e}?",
        "I want to buy {e}. How many coins is that?",
    ],
    questions_heldout: &[
        "How many coins does {e} cost?",
        "How much do I pay for {e}?",
        "How many coins do I pay at the market for {e}?",
        "I need {e}. What does it cost?",
    ],
    nouns: &["the price of {e}", "the number of coins for {e}", "the cost of {e}"],
    nouns_heldout: &["the price of {e} at the market"],
    statements: &[
        "{e} costs {v}.",
        "the price of {e} is {v}.",
        "for {e} you pay {v}.",
        "at the market {e} costs {v}.",
        "you can have {e} for {v}.",
        "who has {v} can buy {e}.",
        "{e} is {v}, not more and not less.",
        "{v} is the price of {e}.",
        "a sign says: {e}, {v}.",
    ],
    statements_heldout: &[
        "{e}? That is {v}, please.",
        "you pay {v} for {e}.",
        "{v} will buy you {e}.",
    ],
};

pub(super) const SELLER: Phrases = Phrases {
    questions: &[
        "Who sells {e}?",
        "From whom can I buy {e}?",
        "Where can I buy {e}? Who sells it?",
        "Which trade sells {e}?",
        "To whom do I go for {e}?",
        "I need {e}. Who has it?",
        "Who makes {e}?",
        "Whom do I pay for {e}?",
    ],
    questions_heldout: &[
        "Who is it that sells {e}?",
        "I need {e}. To whom do I go?",
        "From which trade can I buy {e}?",
        "Who can sell me {e}?",
    ],
    nouns: &[
        "the trade that sells {e}",
        "the trade to ask for {e}",
        "the seller of {e}",
    ],
    nouns_heldout: &["the trade to go to for {e}"],
    statements: &[
        "{v} sells {e}.",
        "{e} comes from {v}.",
        "you can buy {e} from {v}.",
        "for {e} you go to {v}.",
        "ask {v} for {e}.",
        "{e} is sold by {v}.",
        "if you need {e}, go to {v}.",
        "it is {v} who makes {e}.",
        "nobody but {v} sells {e}.",
    ],
    statements_heldout: &[
        "go to {v} if you need {e}.",
        "from {v} you can buy {e}.",
        "{e} is what {v} sells.",
    ],
};

pub(super) const SOUND: Phrases = Phrases {
    questions: &[
        "What does {e} say?",
        "What sound does {e} make?",
        "Which sound does {e} make?",
        "How does {e} speak?",
        "What do you hear from {e}?",
        "What is the word of {e}?",
        "{e} opens its mouth. What do you hear?",
        "What does {e} say in the morning?",
    ],
    questions_heldout: &[
        "Which sound do you hear from {e}?",
        "What does {e} say when it opens its mouth?",
        "What sound do you hear from {e}?",
        "How does {e} say good morning?",
    ],
    nouns: &["the sound of {e}", "the sound that {e} makes", "the word that {e} says"],
    nouns_heldout: &["the sound that you hear from {e}"],
    statements: &[
        "{e} says {v}.",
        "the sound of {e} is {v}.",
        "{e} opens its mouth and says {v}.",
        "when you hear {v}, it is {e}.",
        "{e} can only say {v}.",
        "the farmer says good morning, but {e} says {v}.",
        "the sound that {e} makes is {v}.",
        "{v}! That is {e}.",
    ],
    statements_heldout: &[
        "what you hear from {e} is {v}.",
        "in the morning {e} says {v}.",
        "the word of {e} is {v}.",
    ],
};

pub(super) const YOUNG: Phrases = Phrases {
    questions: &[
        "What is the young of {e} called?",
        "What is a baby {n} called?",
        "What do you call a young {n}?",
        "How do you call the child of {e}?",
        "What is the name for a small {n}?",
        "What walks behind {e}?",
        "What does {e} call its child?",
        "What will grow up to be {e}?",
    ],
    questions_heldout: &[
        "What is a young {n} called?",
        "What do you call the child of {e}?",
        "How do you call a baby {n}?",
        "What is the name for the young of {e}?",
    ],
    nouns: &[
        "the young of {e}",
        "the name for a baby {n}",
        "the word for a young {n}",
    ],
    nouns_heldout: &["the word for the child of {e}"],
    statements: &[
        "the young of {e} is {v}.",
        "a baby {n} is called {v}.",
        "the child of {e} is {v}.",
        "a young {n} is {v}.",
        "{v} grows up to be {e}.",
        "behind {e} walks {v}.",
        "one day {v} will be {e}.",
        "people call a young {n} {v}.",
    ],
    statements_heldout: &[
        "the word for a baby {n} is {w}.",
        "the name for the child of {e} is {w}.",
        "{v} is a young {n}.",
    ],
};

pub(super) const HOUSE: Phrases = Phrases {
    questions: &[
        "Where does {e} sleep?",
        "Where does {e} live?",
        "Where is the bed of {e}?",
        "Where can I find {e} at night?",
        "What is the home of {e}?",
        "Where does {e} go when it is dark?",
        "Where do you look for {e}?",
        "In what does {e} sleep?",
    ],
    questions_heldout: &[
        "Where does {e} go to sleep?",
        "Where does {e} sleep at night?",
        "Where do you look for {e} at night?",
        "In what does {e} live?",
    ],
    nouns: &["the home of {e}", "the place where {e} sleeps", "the bed of {e}"],
    nouns_heldout: &["the place where you find {e} at night"],
    statements: &[
        "{e} sleeps in {v}.",
        "the home of {e} is {v}.",
        "at night {e} goes to its {w}.",
        "{e} lives in {v}.",
        "when it is dark, look for {e} in {v}.",
        "in {v} you may find {e}.",
        "the bed of {e} is in {v}.",
        "good night, says {e}, and goes to sleep in its {w}.",
    ],
    statements_heldout: &[
        "{v} is the home of {e}.",
        "when it is dark, {e} sleeps in its {w}.",
        "at night you find {e} in {v}.",
    ],
};

pub(super) const TOOL: Phrases = Phrases {
    questions: &[
        "What does {e} work with?",
        "Which tool does {e} use?",
        "What tool does {e} need?",
        "With what does {e} work?",
        "What is the tool of {e}?",
        "What does {e} need for work?",
        "Without which tool can {e} not work?",
        "What belongs to {e} at work?",
    ],
    questions_heldout: &[
        "What tool does {e} work with?",
        "Which tool does {e} need?",
        "What does {e} use at work?",
        "With which tool does {e} work?",
    ],
    nouns: &[
        "the tool of {e}",
        "the tool that {e} uses",
        "the thing that {e} works with",
    ],
    nouns_heldout: &["the tool that {e} needs"],
    statements: &[
        "{e} works with {v}.",
        "the tool of {e} is {v}.",
        "{e} needs {v}.",
        "{e} uses {v} every day.",
        "without {v}, {e} cannot work.",
        "you know {e} by the {w}.",
        "{e} never lends anybody the {w}.",
        "give {e} a good {w}, and the work is half done.",
    ],
    statements_heldout: &[
        "{v} is the tool that {e} uses.",
        "at work {e} needs {v}.",
        "every day {e} works with {v}.",
    ],
};

pub(super) const DAY_AFTER: Phrases = Phrases {
    questions: &[
        "What day comes after {e}?",
        "Which day comes after {e}?",
        "What day follows {e}?",
        "Today is {e}. What day is tomorrow?",
        "If today is {e}, what is tomorrow?",
        "Which day is it one day after {e}?",
        "{e} is over. Which day comes now?",
        "Yesterday was {e}. What day is today?",
    ],
    questions_heldout: &[
        "Which day follows {e}?",
        "If today is {e}, which day comes tomorrow?",
        "{e} is over. What day is it now?",
        "What day is it one day after {e}?",
    ],
    nouns: &[
        "the day after {e}",
        "the day that follows {e}",
        "the day that comes after {e}",
    ],
    nouns_heldout: &["the day that is one day after {e}"],
    statements: &[
        "the day after {e} is {v}.",
        "after {e} comes {v}.",
        "{e} is followed by {v}.",
        "if today is {e}, tomorrow is {v}.",
        "when {e} is over, {v} begins.",
        "{v} comes after {e}.",
        "first comes {e}, then comes {v}.",
    ],
    statements_heldout: &[
        "{e} goes and {v} comes.",
        "yesterday was {e}, so today is {v}.",
        "the day that follows {e} is {v}.",
    ],
};

pub(super) const DAY_BEFORE: Phrases = Phrases {
    questions: &[
        "What day comes before {e}?",
        "Which day comes before {e}?",
        "Today is {e}. What day was yesterday?",
        "If today is {e}, what was yesterday?",
        "Which day is it one day before {e}?",
        "What day was it before {e} came?",
        "Tomorrow is {e}. What day is today?",
        "After which day does {e} come?",
    ],
    questions_heldout: &[
        "What day is it one day before {e}?",
        "If today is {e}, which day was yesterday?",
        "After what day does {e} come?",
        "If tomorrow is {e}, what day is today?",
    ],
    nouns: &[
        "the day before {e}",
        "the day that comes before {e}",
        "the day that was there before {e}",
    ],
    nouns_heldout: &["the day that is one day before {e}"],
    statements: &[
        "the day before {e} is {v}.",
        "before {e} comes {v}.",
        "if today is {e}, yesterday was {v}.",
        "{v} comes before {e}.",
        "tomorrow is {e}, so today is {v}.",
        "{e} must wait until {v} is over.",
        "one day before {e}, it is {v}.",
    ],
    statements_heldout: &[
        "today is {e}, so yesterday was {v}.",
        "the day that comes before {e} is {v}.",
        "{v} is one day before {e}.",
    ],
};

pub(super) const OPPOSITE: Phrases = Phrases {
    questions: &[
        "What is the opposite of {e}?",
        "Which word is the opposite of {e}?",
        "What is the opposite of the word {e}?",
        "Which word means the opposite of {e}?",
        "If it is not {e}, what is it?",
        "What word is the other side of {e}?",
        "I say {e}. What is the opposite?",
        "What do you call the opposite of {e}?",
    ],
    questions_heldout: &[
        "Which word is the other side of {e}?",
        "I say {e}. Which word is the opposite?",
        "What word means the opposite of {e}?",
        "What word is the opposite of {e}?",
    ],
    nouns: &[
        "the opposite of {e}",
        "the opposite of the word {e}",
        "the word that is the opposite of {e}",
    ],
    nouns_heldout: &["the word that means the opposite of {e}"],
    statements: &[
        "the opposite of {e} is {v}.",
        "{v} is the opposite of {e}.",
        "not {e} but {v}.",
        "I say {e}, you say {v}.",
        "{e} and {v} are opposites.",
        "where one says {e}, another says {v}.",
        "{e} is one side, {v} is the other.",
    ],
    statements_heldout: &[
        "the other side of {e} is {v}.",
        "opposites: {e} and {v}.",
        "you say {e}, I say {v}.",
    ],
};
