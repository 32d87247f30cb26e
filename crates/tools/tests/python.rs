//! The calculator against Python, by the cases in `fixtures/calculator.tsv` (see `make.py` beside it).

use ferrochat_tools::calculate;
use proptest::prelude::*;

#[test]
fn results_are_those_of_python() {
    let cases = include_str!("fixtures/calculator.tsv");
    let (mut results, mut refusals) = (0, 0);
    for line in cases.lines() {
        let (expression, expected) = line.split_once('\t').expect("an expression, a tab, a result");
        let expected = Some(expected).filter(|result| !result.is_empty());
        assert_eq!(calculate(expression).as_deref(), expected, "{expression}");
        *(if expected.is_some() {
            &mut results
        } else {
            &mut refusals
        }) += 1;
    }
    assert!(results > 300 && refusals > 20, "{results} results, {refusals} refusals");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[0-9*+/.() ,'a-c\"-]{0,40}|\\PC{0,40}") {
        calculate(&text);
    }
}
