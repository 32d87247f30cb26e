//! Villages, markets and trades.

use super::{Scribe, people, template};
use crate::fact::{Entity, Relation};
use crate::phrasings::Call;

/// A page of the guide book.
pub(super) fn village(scribe: &mut Scribe<'_>) -> String {
    let place = scribe.place();
    let entity = Entity::Place(place);
    let name = scribe.universe.places[place].name.clone();
    let opening = scribe.choose(&[
        "[Welcome to|The village of|From the guide book:|A day in] {e}.",
        "{e} is a [small|quiet|merry|windy|sleepy] village [by the river|between two hills|at the edge of the forest|at the end of the road].",
        "{e}[, a guide for travellers.|: what to see and whom to meet.| in a few words.]",
    ]);
    let opening = template::slots(&template::alternatives(opening, &mut scribe.rng), &[("e", &name)]);
    let mut sentences = vec![opening];
    let mut relations = Relation::OF_PLACES;
    scribe.rng.shuffle(&mut relations);
    for relation in relations {
        sentences.push(scribe.say(entity, relation, Call::Name));
    }
    let mut residents = scribe.universe.residents(place);
    scribe.rng.shuffle(&mut residents);
    if scribe.rng.percent(40) {
        sentences.push(format!("{} live here.", people::listed(scribe.universe, &residents)));
    }
    residents.truncate(3);
    for person in residents {
        let relation = if scribe.rng.percent(50) {
            Relation::Home
        } else {
            Relation::Trade
        };
        sentences.push(scribe.say(Entity::Person(person), relation, Call::Name));
    }
    if scribe.rng.percent(40) {
        let closing = scribe.choose(&[
            "Bring [an umbrella|good boots|a basket|your grandmother].",
            "Do not feed the geese.",
            "[The beds are soft|The soup is good|The wind is free|The geese are rude].",
        ]);
        sentences.push(template::alternatives(closing, &mut scribe.rng));
    }
    sentences.join(" ")
}

/// A notice with prices and where to buy.
pub(super) fn market(scribe: &mut Scribe<'_>) -> String {
    let place = scribe.place();
    let name = scribe.universe.places[place].name.clone();
    let opening = scribe.choose(&[
        "[Market day|Prices at the market|Come to the market|Hear, hear]!",
        "[A walk over the market of|From the market of|Notice from the market in] {e}.",
        "[Things you can buy|What things cost|A shopping list|Before you go shopping].",
    ]);
    let mut lines = vec![template::slots(
        &template::alternatives(opening, &mut scribe.rng),
        &[("e", &name)],
    )];
    if scribe.rng.percent(40) {
        lines.push(scribe.say(Entity::Place(place), Relation::MarketDay, Call::Name));
    }
    let count = scribe.rng.between(4, 7) as usize;
    for good in scribe.several(count, scribe.universe.goods.len()) {
        let mut line = scribe.say(Entity::Good(good), Relation::Price, Call::Name);
        if scribe.rng.percent(60) {
            line.push(' ');
            line.push_str(&scribe.say(Entity::Good(good), Relation::Seller, Call::Name));
        }
        lines.push(line);
    }
    let closing = scribe.choose(&[
        "",
        "",
        "No bargaining before breakfast.",
        "The geese are not for sale.",
        "Count your coins twice.",
    ]);
    if !closing.is_empty() {
        lines.push(closing.to_string());
    }
    lines.join("\n")
}

/// Trades, their tools and people.
pub(super) fn trades(scribe: &mut Scribe<'_>) -> String {
    let opening = scribe.choose(&[
        "[Who works with what|Trades and tools|What shall I be when I grow up|The book of trades]",
        "[Without tools there is no work|Every trade has its tool|Look at the hands of people who work]",
    ]);
    let opening = template::alternatives(opening, &mut scribe.rng);
    let mut lines = vec![format!(
        "{opening}{}",
        if opening.starts_with("Wh") { '?' } else { '.' }
    )];
    let count = scribe.rng.between(4, 8) as usize;
    for trade in scribe.several(count, scribe.universe.trades.len()) {
        let mut line = scribe.say(Entity::Trade(trade), Relation::Tool, Call::Name);
        let name = scribe.universe.trades[trade].0;
        let workers: Vec<usize> = (0..scribe.universe.people.len())
            .filter(|&i| scribe.universe.people[i].trade == name)
            .collect();
        if !workers.is_empty() && scribe.rng.percent(60) {
            let worker = *scribe.rng.choose(&workers);
            line.push(' ');
            line.push_str(&scribe.say(Entity::Person(worker), Relation::Trade, Call::Name));
        }
        lines.push(line);
    }
    lines.join("\n")
}
