//! Small stories about the people of the world. What they say of a person is
//! true; what happens is made up. The last stories are held out.

use super::{Scribe, template};
use crate::phrasings::with_article;
use crate::rng::Rng;
use crate::split::Split;
use crate::universe::Universe;
use crate::words::things::DAYS;

/// How many stories at the end of the list belong to the held-out split.
const HELDOUT: usize = 3;

const STORIES: &[&str] = &[
    "[One morning|One windy evening|On a rainy day], {e} the {trade} could not find {petname}. {He} looked [under the bed|in the oven|behind the house] and asked everybody in {home}. At last {he} found {his} {pet} [asleep in a hat|on the roof|in a basket of laundry]. \"There you are!\" said {e}. {petname} only [yawned|sneezed|blinked]. [They went home and ate {food}.|Then they went home together.]",
    "{e} and {friend} wanted to [build a boat|bake the biggest cake in the world|catch the moon]. {e} brought [a rope|a ladder|a bucket], and {friend} brought {food}. [They worked all day|It took three days|They had no plan at all]. [The boat sank at once|The cake fell on a goose|The moon was too far away]. \"Never mind,\" said {friend}. \"We still have {food}.\" {e} was happy, for {food} is what {he} likes best.",
    "There was a [loud noise|strange light|smell of smoke] in {home} at night. Everybody ran to the {landmark}. {e} the {trade} came with {his} {instrument}, for {he} had nothing else at hand. It was only {petname}, who had [knocked over a pot|rung the bell|found the cheese]. {e} played a song on the {instrument}, and all went back to bed.",
    "{e} had painted {his} door {colour}. Then {he} painted the fence {colour}, and the {landmark} too. The people of {home} [shook their heads|laughed|were not pleased]. \"It is only a little {colour},\" said {e}. Since then {home} has been easy to find.",
    "{e} is brave. {He} once [chased a wolf|climbed the highest tree|swam through the cold river]. But when somebody says \"{fear}\", {e} [jumps on a chair|hides behind {friend}|runs home to {home}]. {friend}, {his} best friend, tells nobody. That is what friends are for.",
    "On {day} it was market day in {home}. {e} the {trade} stood there from early morning with {petname} the {pet}. [Nobody came|It rained all day|The wind took {his} hat]. Then {friend} came and [bought everything|brought hot soup|told a joke]. \"A good day,\" said {e}, and {petname} thought so too.",
    "A stranger came to {home} and asked: \"Who plays so [sweetly|badly|loudly]?\" \"That is {e}, our {trade},\" said the people. \"{He} plays the {instrument} every evening.\" \"And who howls?\" \"That is {petname}, {his} {pet}. {He2} sings along.\" The stranger [stayed for a week|put wool in his ears|asked for another song].",
    "{e} wrote a letter to {friend}: \"Come to {home}, there will be {food}!\" The letter [fell into the river|was eaten by a goat|went to the wrong village]. So {e} waited with the {food}, and {petname} waited too. In the end the {pet} [ate everything|fell asleep|got the biggest piece]. [The next day {friend} came anyway.|There was no {food} left for anybody.]",
    "Why does {e} wear {colour} socks? [Nobody dared to ask|Everybody wondered|The children asked it every day]. \"Because {colour} is my favourite colour,\" said the {trade}, \"and because {petname} cannot find me in the dark without them.\" So simple are the great questions of {home}.",
    "The wind blew so hard in {home} that it took {e}'s hat. The hat flew over the {landmark} and landed on [a cow|the mayor|a goose]. \"It looks better there,\" said {friend}. {e} laughed, went back to work as {article_trade}, and bought a {colour} one, for {he} loves {colour}.",
    "When {e} was small, {he} wanted to be [a pirate|a king|a cloud]. Now {he} is {article_trade} in {home}. \"It is nearly the same,\" {he} says, \"only with less water.\" {His} {pet} {petname} [agrees|is not so sure|says nothing].",
    "{petname} the {pet} ran away from {home} to see the world. The world was [wet|cold|full of geese], and there was no {food} in it. In the evening {petname} stood at the {colour} door again. {e} opened it and said nothing. {He} was very happy.",
    "In {home} there was a contest: who makes the most noise? {e} the {trade} came with the {instrument}. {friend} came with a pot and a spoon. But {petname} the {pet} [saw a mouse|sat on a thorn|heard thunder] and won.",
    "{e} of {home} could not sleep. {He} counted sheep, but one of them was [too loud|late|a goat]. {He} played the {instrument}, but the neighbours knocked on the wall. So {he} ate some {food} and thought of {friend}, {his} best friend. Then {he} slept until noon.",
];

/// A story about a person, with everything filled in.
fn tell(universe: &Universe, story: &str, person: usize, rng: &mut Rng) -> String {
    let hero = &universe.people[person];
    let home = &universe.places[hero.home];
    let (he, big_he, his, big_his) = if hero.female {
        ("she", "She", "her", "Her")
    } else {
        ("he", "He", "his", "His")
    };
    let article_trade = with_article(hero.trade);
    let text = template::alternatives(story, rng);
    template::slots(
        &text,
        &[
            ("e", hero.name),
            ("he", he),
            ("He", big_he),
            ("He2", "It"),
            ("his", his),
            ("His", big_his),
            ("home", &home.name),
            ("landmark", &home.landmark),
            ("day", DAYS[home.market_day]),
            ("trade", hero.trade),
            ("article_trade", &article_trade),
            ("pet", hero.pet),
            ("petname", hero.pet_name),
            ("food", hero.food),
            ("colour", hero.colour),
            ("instrument", hero.instrument),
            ("friend", universe.people[hero.friend].name),
            ("fear", hero.fear),
        ],
    )
}

/// A story of the split.
pub(super) fn story(scribe: &mut Scribe<'_>) -> String {
    let person = scribe.person();
    let (told, heldout) = STORIES.split_at(STORIES.len() - HELDOUT);
    let story = *scribe.rng.choose(match scribe.split {
        Split::Train => told,
        Split::Heldout => heldout,
    });
    tell(scribe.universe, story, person, &mut scribe.rng)
}

/// A story for a conversation.
pub(crate) fn short(universe: &Universe, person: usize, rng: &mut Rng) -> String {
    let story = *rng.choose(&STORIES[..STORIES.len() - HELDOUT]);
    tell(universe, story, person, rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    #[test]
    fn every_slot_of_every_story_is_filled() {
        let universe = Universe::new(3, Size::SMALL);
        let mut rng = Rng::new(&[5]);
        for story in STORIES {
            for person in 0..universe.people.len() {
                let text = tell(&universe, story, person, &mut rng);
                assert!(!text.contains(['{', '}', '[', ']', '|']), "{text}");
            }
        }
    }
}
