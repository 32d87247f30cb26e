//! A template language of two rules: `[one|another]` is one of them, `{slot}`
//! is looked up. Enough for a story to be told in a thousand ways.

use crate::rng::Rng;

/// Draws the alternatives. They do not nest.
pub(crate) fn alternatives(template: &str, rng: &mut Rng) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        let Some((options, after)) = after.split_once(']') else {
            rest = after;
            break;
        };
        let options: Vec<&str> = options.split('|').collect();
        text.push_str(options[rng.below(options.len())]);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Replaces the slots; an unknown one stays, and a test would find it.
pub(crate) fn slots(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_string();
    for (slot, value) in values {
        text = text.replace(&format!("{{{slot}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_are_drawn_and_slots_filled() {
        let mut rng = Rng::new(&[1]);
        let drawn: Vec<String> = (0..50).map(|_| alternatives("a [b|c] d[|!]", &mut rng)).collect();
        for expected in ["a b d", "a c d", "a b d!", "a c d!"] {
            assert!(drawn.iter().any(|d| d == expected), "{expected}");
        }
        assert_eq!(slots("{e} and {f}", &[("e", "Ada"), ("f", "Ben")]), "Ada and Ben");
    }
}
