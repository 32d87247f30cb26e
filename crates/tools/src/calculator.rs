//! The calculator: a grammar of its own, evaluated while it is read. There is no `eval` and nothing to escape to.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = signed { ("*" | "/" | "//") signed }
//! signed  = { "+" | "-" } atom
//! atom    = number | "(" sum ")" | string ".count(" string ")"
//! number  = digits, or digits with one point anywhere; an integer other than 0 does not begin with 0
//! string  = characters other than its quote, `\` and line ends, between two ' or two "
//! ```
//!
//! Spaces may stand between any two of these, nothing else; commas outside strings are ignored, so that `1,234`
//! is a number. Numbers are Python's: integers stay exact, `/` always gives a float, `//` rounds down.
//!
//! Against nanochat, which lets Python evaluate what passes a filter of characters: integers end at 127 bits
//! (no result beyond); `()` and `...` are no numbers; strings may hold any characters and words (its filter
//! stops `'file'.count('e')`, and it drops commas inside strings too), cannot call anything but `count`,
//! but counts may be calculated with.

use std::iter::Peekable;
use std::str::Chars;

use crate::number::Number;

/// Characters that an expression may have.
pub const LONGEST: usize = 1000;

/// Brackets that may be open at once.
const DEEPEST: usize = 100;

/// The value of an expression, written as Python's `str` writes it. Nothing for what is not an expression of
/// this grammar, has no value (a division by zero, an integer beyond 127 bits), or is longer than [`LONGEST`].
///
/// ```
/// use ferrochat_tools::calculate;
/// assert_eq!(calculate("(1,200 + 34) * 2").as_deref(), Some("2468"));
/// assert_eq!(calculate("6 / 2").as_deref(), Some("3.0"));
/// assert_eq!(calculate("'strawberry'.count('r')").as_deref(), Some("3"));
/// assert_eq!(calculate("2 ** 10"), None);
/// ```
pub fn calculate(expression: &str) -> Option<String> {
    if expression.len() > 4 * LONGEST || expression.chars().count() > LONGEST {
        return None;
    }
    let expression = without_commas(expression);
    let mut reader = Reader {
        rest: expression.chars().peekable(),
        depth: 0,
    };
    let value = reader.sum()?;
    (reader.peek().is_none()).then(|| value.to_string())
}

/// The expression without the commas that stand outside strings.
fn without_commas(expression: &str) -> String {
    let mut quote = None;
    let outside = |&character: &char| {
        match quote {
            Some(open) if open == character => quote = None,
            None if character == '\'' || character == '"' => quote = Some(character),
            _ => {}
        }
        character != ',' || quote.is_some()
    };
    expression.chars().filter(outside).collect()
}

/// Reads from left to right and evaluates on the way.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Reader<'_> {
    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if_eq(&' ').is_some() {}
        self.rest.peek().copied()
    }

    fn sum(&mut self) -> Option<Number> {
        let mut value = self.product()?;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            self.rest.next();
            let right = self.product()?;
            value = if sign == '+' {
                value.plus(right)?
            } else {
                value.minus(right)?
            };
        }
        Some(value)
    }

    fn product(&mut self) -> Option<Number> {
        let mut value = self.signed()?;
        while let Some(operator @ ('*' | '/')) = self.peek() {
            self.rest.next();
            let floor = operator == '/' && self.rest.next_if_eq(&'/').is_some();
            let right = self.signed()?;
            value = match operator {
                '*' => value.times(right)?,
                _ if floor => value.floor_divided_by(right)?,
                _ => value.divided_by(right)?,
            };
        }
        Some(value)
    }

    fn signed(&mut self) -> Option<Number> {
        let mut negative = false;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            self.rest.next();
            negative ^= sign == '-';
        }
        let value = self.atom()?;
        if negative { value.negated() } else { Some(value) }
    }

    fn atom(&mut self) -> Option<Number> {
        match self.peek()? {
            '0'..='9' | '.' => self.number(),
            '\'' | '"' => self.count(),
            '(' if self.depth < DEEPEST => {
                self.rest.next();
                self.depth += 1;
                let value = self.sum()?;
                self.depth -= 1;
                (self.peek() == Some(')')).then(|| self.rest.next())?;
                Some(value)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Number> {
        let mut text = String::new();
        let mut point = false;
        while let Some(character) = self.rest.next_if(|&c| c.is_ascii_digit() || (c == '.' && !point)) {
            point |= character == '.';
            text.push(character);
        }
        if point {
            return text.parse().ok().map(Number::Float);
        }
        let led_by_zero = text.starts_with('0') && text.bytes().any(|digit| digit != b'0');
        (!led_by_zero).then(|| text.parse().ok().map(Number::Int))?
    }

    /// How often the second string stands in the first without overlap; an empty one stands between all
    /// characters and at both ends.
    fn count(&mut self) -> Option<Number> {
        let text = self.string()?;
        for expected in ".count(".chars() {
            self.rest.next_if_eq(&expected)?;
        }
        let wanted = self.string()?;
        (self.peek() == Some(')')).then(|| self.rest.next())?;
        Some(Number::Int(text.matches(&wanted).count() as i128))
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.peek().filter(|&c| c == '\'' || c == '"')?;
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                c if c == quote => return Some(text),
                '\\' | '\n' | '\r' => return None,
                c => text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_results(cases: &[(&str, &str)]) {
        for &(expression, expected) in cases {
            assert_eq!(calculate(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    fn assert_refused(expressions: &[&str]) {
        for expression in expressions {
            assert_eq!(calculate(expression), None, "{expression}");
        }
    }

    #[test]
    fn arithmetic() {
        assert_results(&[
            ("7/2", "3.5"),
            ("6/2", "3.0"),
            ("-7//2", "-4"),
            ("7//-2.", "-4.0"),
            ("1 - - 2*(3+4)", "15"),
            ("1,000,000 * 1,000", "1000000000"),
            (".5 + 5.", "5.5"),
            ("00", "0"),
            ("007.5", "7.5"),
            ("10000000000000000.0", "1e+16"),
            (
                "170141183460469231731687303715884105727",
                "170141183460469231731687303715884105727",
            ),
        ]);
    }

    #[test]
    fn what_is_no_number_has_no_result() {
        assert_refused(&[
            "",
            " ",
            "()",
            "...",
            ".",
            "1 2",
            "1..2",
            "1.2.3",
            "2**3",
            "2,*,*3",
            "2* *3",
            "8/ /2",
            "1/0",
            "1//0.",
            "1/0.0",
            "007",
            "(1",
            "1)",
            "2(3)",
            "1e5",
            "1_000",
            "0x10",
            "5 % 3",
            "1\n+1",
            "1\t+1",
            "abc",
            "+",
            "٣",
            "170141183460469231731687303715884105728",
            "99999999999999999999 * 99999999999999999999",
        ]);
    }

    #[test]
    fn letters_are_counted() {
        assert_results(&[
            ("'strawberry'.count('r')", "3"),
            (" ( \"it's\".count( \"'\" ) ) ", "1"),
            ("'aaa'.count('aa')", "1"),
            ("'añb'.count('')", "4"),
            ("'a, b, c'.count(',')", "2"),
            ("'important file'.count('i')", "2"),
            ("'aab'.count('a') + 1", "3"),
        ]);
        assert_refused(&[
            "'a'",
            "'a'.upper()",
            "'a' .count('a')",
            "'a'.count ('a')",
            "'a'.count('a'",
            "'a'.count(a)",
            "'a\\''.count('a')",
            "'a'.count('a').real",
            "'''a'''.count('a')",
            "'a\n'.count('a')",
            "__import__('os')",
            "'a'.count('a', 1)",
            "b'a'.count('a')",
        ]);
    }

    #[test]
    fn time_and_depth_are_bounded() {
        let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(calculate(&nested(DEEPEST)).as_deref(), Some("1"));
        assert_eq!(calculate(&nested(DEEPEST + 1)), None);
        assert_eq!(
            calculate(&format!("{}1", "-".repeat(LONGEST - 1))).as_deref(),
            Some("-1")
        );
        assert_eq!(calculate(&"1".repeat(LONGEST + 1)), None);
        assert_eq!(calculate(&"1+".repeat(1 << 20)), None);
        let long = format!("'{}'.count('a')", "ä".repeat(900));
        assert_eq!(calculate(&long).as_deref(), Some("0"));
    }
}
