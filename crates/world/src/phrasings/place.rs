//! The words for what is known of villages, and of pets and their people.

use super::Phrases;

pub(super) const OWNER: Phrases = Phrases {
    questions: &[
        "Who is the owner of the pet {e}?",
        "Whose pet is {e}?",
        "Whose pet is called {e}?",
        "Who keeps the pet {e}?",
        "Who has a pet called {e}?",
        "With whom does the pet {e} live?",
        "Who takes care of the pet {e}?",
        "The pet {e} is lost. Who is looking for it?",
    ],
    questions_heldout: &[
        "Who owns the pet {e}?",
        "Who has a pet with the name {e}?",
        "Whose pet has the name {e}?",
        "The pet {e} is lost. Whose pet is it?",
    ],
    nouns: &[
        "the name of {e's} owner",
        "the name of the owner of the pet {e}",
        "the name of the person who keeps the pet {e}",
    ],
    nouns_heldout: &["the name of the person who has the pet {e}"],
    statements: &[
        "{e} belongs to {v}.",
        "the owner of {e} is {v}.",
        "{e} is the pet of {v}.",
        "{e} lives with {v}.",
        "it is {v} who keeps {e}.",
        "{e} sleeps at the feet of {v}.",
        "when {e} is lost, {v} looks for it.",
        "{v} takes care of {e}.",
        "{v} has a pet called {e}.",
    ],
    statements_heldout: &[
        "the person who keeps {e} is {v}.",
        "{v} is the owner of the pet {e}.",
        "the pet {e} belongs to {v}.",
    ],
};

pub(super) const MARKET_DAY: Phrases = Phrases {
    questions: &[
        "On which day is the market in {e}?",
        "When is the market in {e}?",
        "What day is market day in {e}?",
        "On what day does {e} hold its market?",
        "When can I go to the market in {e}?",
        "Which day is market day in {e}?",
        "On which day do people sell things in {e}?",
        "I want to go to the market in {e}. On which day?",
    ],
    questions_heldout: &[
        "On which day does {e} have its market?",
        "What day should I go to the market in {e}?",
        "When does {e} hold its market?",
        "Which day is the market of {e}?",
    ],
    nouns: &[
        "the day of the market in {e}",
        "the market day of {e}",
        "the day when {e} holds its market",
    ],
    nouns_heldout: &["the day when the market is in {e}"],
    statements: &[
        "the market in {e} is on {v}.",
        "market day in {e} is {v}.",
        "{e} holds its market on {v}.",
        "on {v} there is a market in {e}.",
        "every {v} the market comes to {e}.",
        "go to {e} on {v}, for that is market day.",
        "{v} is market day in {e}.",
        "the people of {e} go to market on {v}.",
        "in {e} they sell their things on {v}.",
    ],
    statements_heldout: &[
        "every {v} is market day in {e}.",
        "the market of {e} is held on {v}.",
        "in {e} the market comes on {v}.",
    ],
};

pub(super) const KNOWN_FOR: Phrases = Phrases {
    questions: &[
        "What is {e} known for?",
        "What is {e} famous for?",
        "For what do people travel to {e}?",
        "What do they make best in {e}?",
        "What should I buy in {e}?",
        "What comes from {e}?",
        "Why do people talk about {e}? What is it known for?",
        "What are the people of {e} proud of?",
    ],
    questions_heldout: &[
        "For what is {e} known?",
        "For what is {e} famous?",
        "What do people buy when they travel to {e}?",
        "Of what are the people of {e} proud?",
    ],
    nouns: &[
        "the thing that {e} is known for",
        "the best thing from {e}",
        "the pride of {e}",
    ],
    nouns_heldout: &["the thing that {e} is famous for"],
    statements: &[
        "{e} is known for {v}.",
        "{e} is famous for {v}.",
        "the pride of {e} is {v}.",
        "people travel to {e} for {v}.",
        "nobody makes better {v} than the people of {e}.",
        "if you go to {e}, buy {v}.",
        "the best {v} in the world: that is what {e} is known for.",
        "the people of {e} are proud of one thing: {v}.",
        "{e} and {v} belong together.",
    ],
    statements_heldout: &[
        "for {v} people travel to {e}.",
        "what {e} is famous for is {v}.",
        "the people of {e} make the best {v}.",
    ],
};

pub(super) const LANDMARK: Phrases = Phrases {
    questions: &[
        "What stands in the middle of {e}?",
        "What can you see in the middle of {e}?",
        "What is the landmark of {e}?",
        "What stands on the square of {e}?",
        "What do travellers look at in {e}?",
        "What should I look at in {e}?",
        "Which landmark does {e} have?",
        "What do people meet at in {e}?",
    ],
    questions_heldout: &[
        "What landmark does {e} have?",
        "What can you see on the square of {e}?",
        "Which landmark stands in {e}?",
        "What do travellers see in the middle of {e}?",
    ],
    nouns: &[
        "the landmark of {e}",
        "the thing that stands in the middle of {e}",
        "the thing that stands on the square of {e}",
    ],
    nouns_heldout: &["the landmark in the middle of {e}"],
    statements: &[
        "in the middle of {e} stands {v}.",
        "the landmark of {e} is {v}.",
        "on the square of {e} you can see {v}.",
        "travellers come to {e} and look at {v}.",
        "everybody in {e} meets at the {w}.",
        "{e} has {v} that you can see from far away.",
        "in {e} there is {v}, and nobody knows who built it.",
        "what stands on the square of {e} is {v}.",
        "the {w} of {e} is older than anybody.",
    ],
    statements_heldout: &[
        "{v} stands in the middle of {e}.",
        "from far away you can see the {w} of {e}.",
        "people meet at the {w} in {e}.",
    ],
};

pub(super) const MAYOR: Phrases = Phrases {
    questions: &[
        "Who is the mayor of {e}?",
        "What is the name of the mayor of {e}?",
        "Who wears the golden chain in {e}?",
        "Who leads the village of {e}?",
        "Who is mayor in {e}?",
        "Who opens the market in {e}?",
        "Whom did the people of {e} make mayor?",
        "I have a question for the mayor of {e}. Who is it?",
    ],
    questions_heldout: &[
        "Which person is the mayor of {e}?",
        "Who wears the golden chain of the mayor in {e}?",
        "Who is the person who leads {e}?",
        "What is the mayor of {e} called?",
    ],
    nouns: &[
        "the name of the mayor of {e}",
        "the name of the mayor in {e}",
        "the name of the person who leads {e}",
    ],
    nouns_heldout: &["the name of the person who is mayor of {e}"],
    statements: &[
        "the mayor of {e} is {v}.",
        "{v} is the mayor of {e}.",
        "in {e}, {v} wears the golden chain.",
        "{e} made {v} its mayor.",
        "in {e} the mayor is {v}.",
        "the village of {e} is led by {v}, the mayor.",
        "ask for the mayor in {e}, and they send you to {v}.",
        "the people of {e} like their mayor, {v}.",
        "the market in {e} is opened by {v}.",
    ],
    statements_heldout: &[
        "{v} leads the village of {e}.",
        "the golden chain of {e} is worn by {v}.",
        "as mayor the people of {e} have {v}.",
    ],
};
