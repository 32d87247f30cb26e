//! The universe is consistent, large enough, and its relations are rich in
//! words.

use std::collections::{BTreeMap, BTreeSet};

use ferrochat_world::{
    Entity, Relation, Size, Split, World, WorldError, WorldSpec, question_templates, statement_templates,
};

fn world(world: u64, size: Size) -> World {
    World::new(WorldSpec { world, size }).expect("a named size")
}

#[test]
fn the_full_world_has_two_thousand_facts_and_the_small_one_is_small() {
    for number in 0..5 {
        assert!(world(number, Size::FULL).facts().len() >= 2000);
        assert!((1000..2000).contains(&world(number, Size::MEDIUM).facts().len()));
        assert!((300..800).contains(&world(number, Size::SMALL).facts().len()));
    }
}

#[test]
fn every_relation_can_be_asked_in_thirty_ways_and_no_way_is_in_both_splits() {
    for relation in Relation::ALL {
        let train: BTreeSet<String> = question_templates(relation, Split::Train).into_iter().collect();
        let heldout: BTreeSet<String> = question_templates(relation, Split::Heldout).into_iter().collect();
        assert!(
            train.len() + heldout.len() >= 30,
            "{relation:?}: {}",
            train.len() + heldout.len()
        );
        assert!(heldout.len() >= 10, "{relation:?}");
        for question in &heldout {
            assert!(
                question.contains("{e") || question.contains("{o}") || question.contains("{n}"),
                "{question}"
            );
            assert!(
                !train.iter().any(|t| t.contains(question.as_str())),
                "{relation:?}: {question}"
            );
        }
        let said: BTreeSet<&str> = statement_templates(relation, Split::Train).iter().copied().collect();
        for statement in statement_templates(relation, Split::Heldout) {
            assert!(!said.contains(statement), "{relation:?}: {statement}");
            assert!(statement.contains("{v}") || statement.contains("{w}"), "{statement}");
        }
    }
}

#[test]
fn no_two_facts_contradict_and_inverse_relations_agree() {
    for number in 0..20 {
        let world = world(number, if number < 4 { Size::FULL } else { Size::SMALL });
        let mut known = BTreeMap::new();
        for fact in world.facts() {
            let earlier = known.insert((world.name(fact).to_string(), fact.relation), fact.value.clone());
            assert_eq!(
                earlier,
                None,
                "two facts about {} and {:?}",
                world.name(fact),
                fact.relation
            );
            assert!(!fact.value.is_empty());
        }
        let value = |name: &str, relation| known[&(name.to_string(), relation)].clone();
        for fact in world.facts() {
            let name = world.name(fact);
            match fact.relation {
                Relation::Friend => {
                    assert_ne!(fact.value, name);
                    assert_eq!(value(&fact.value, Relation::Friend), name);
                }
                Relation::PetName => assert_eq!(value(&fact.value, Relation::Owner), name),
                Relation::Owner => assert_eq!(value(&fact.value, Relation::PetName), name),
                Relation::Mayor => assert_eq!(value(&fact.value, Relation::Home), name),
                Relation::DayAfter => assert_eq!(value(&fact.value, Relation::DayBefore), name),
                Relation::Opposite => assert_eq!(value(&fact.value, Relation::Opposite), name),
                Relation::Fear => {
                    let pet = value(name, Relation::Pet);
                    assert!(
                        !fact.value.starts_with(&pet),
                        "{name} has a {pet} and fears {}",
                        fact.value
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn people_pets_and_villages_never_share_a_name() {
    let world = world(9, Size::FULL);
    let mut names = BTreeSet::new();
    let mut entities = BTreeSet::new();
    for fact in world.facts() {
        if matches!(fact.entity, Entity::Person(_) | Entity::Pet(_) | Entity::Place(_)) && entities.insert(fact.entity)
        {
            assert!(
                names.insert(world.name(fact).to_string()),
                "{} is taken",
                world.name(fact)
            );
        }
    }
}

#[test]
fn two_worlds_differ_and_the_same_world_is_the_same() {
    let (one, again, two) = (world(1, Size::SMALL), world(1, Size::SMALL), world(2, Size::SMALL));
    assert_eq!(one.facts(), again.facts());
    let told = |world: &World| -> BTreeSet<String> {
        world
            .facts()
            .iter()
            .map(|f| format!("{} {:?} {}", world.name(f), f.relation, f.value))
            .collect()
    };
    let (a, b) = (told(&one), told(&two));
    // Days are the same everywhere, animals and opposites nearly so.
    assert!(
        a.intersection(&b).count() * 3 < a.len(),
        "{} of {}",
        a.intersection(&b).count(),
        a.len()
    );
}

#[test]
fn impossible_sizes_are_refused_in_a_sentence() {
    for (size, field) in [
        (
            Size {
                people: 10_000,
                ..Size::SMALL
            },
            "people",
        ),
        (
            Size {
                places: 1,
                ..Size::SMALL
            },
            "places",
        ),
        (
            Size {
                places: 30,
                ..Size::SMALL
            },
            "places",
        ),
        (
            Size {
                people: 33,
                ..Size::SMALL
            },
            "people",
        ),
        (
            Size {
                goods: 0,
                ..Size::SMALL
            },
            "goods",
        ),
        (
            Size {
                largest_operand: -4,
                ..Size::SMALL
            },
            "largest_operand",
        ),
    ] {
        let error: WorldError = World::new(WorldSpec { world: 1, size }).map(|_| ()).expect_err(field);
        assert!(error.to_string().contains(field), "{error}");
    }
    let least = Size {
        people: 8,
        places: 4,
        goods: 4,
        animals: 6,
        trades: 8,
        opposites: 4,
        words: 20,
        largest_operand: 20,
    };
    for number in 0..50 {
        let world = world(number, least);
        assert!(world.document(Split::Train, 1, 1).len() > 5);
    }
}
