//! The safety filter: phrases that must not pass, listed by whoever runs the model.
//!
//! A word list is no judge of meaning. It is the hook at which the terminal and the server look at what people
//! ask and what the model says; there is no built-in list, and an empty filter lets everything pass.

/// What is said in place of an answer that was held back.
pub const REFUSAL: &str = "I can't help with that.";

/// Phrases to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SafetyFilter {
    /// As they were listed, and as they are compared.
    phrases: Vec<(String, String)>,
}

impl SafetyFilter {
    /// One phrase per line; empty lines and what follows a `#` do not count.
    pub fn from_lines(list: &str) -> SafetyFilter {
        let lines = list.lines().map(|line| line.split('#').next().unwrap_or("").trim());
        let phrases = lines.map(|line| (line.to_owned(), words(line)));
        SafetyFilter {
            phrases: phrases.filter(|(_, words)| !words.trim().is_empty()).collect(),
        }
    }

    /// The first listed phrase that the text has, as whole words in sequence, whatever their case and
    /// whatever stands between them that is neither letter nor digit.
    pub fn find(&self, text: &str) -> Option<&str> {
        if self.phrases.is_empty() {
            return None;
        }
        let text = words(text);
        let found = self.phrases.iter().find(|(_, phrase)| text.contains(phrase.as_str()));
        found.map(|(listed, _)| listed.as_str())
    }
}

/// The words in lower case, a space before and after each.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut joined = String::from(" ");
    for word in words {
        joined.push_str(word);
        joined.push(' ');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_phrases_are_found() {
        let filter = SafetyFilter::from_lines("# list\nred Button\n\n  über  # a word\n***\n");
        assert_eq!(filter.find("Press the RED, button!"), Some("red Button"));
        assert_eq!(filter.find("ÜBER alles"), Some("über"));
        assert_eq!(filter.find("a bored button, reds, buttons, uber"), None);
        assert_eq!(filter.find(""), None);
        assert_eq!(SafetyFilter::default().find("red button"), None);
    }
}
