//! Which tokens of an item's texts are scored. This room must never know models.
//!
//! A text's tokens from `start` on are scored, each as the successor of the one before. In multiple choice `start` is where
//! the options begin to differ, in a schema where their common end begins, in language modelling where the prompt without
//! continuation ends.

use super::item::CoreKind;

/// An item as the model reads it: what comes before the scored tokens, and these.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// Place of the item in its task.
    pub(super) item: usize,
    /// What is read and not scored. Options of one question share it.
    pub(super) prefixes: Vec<Vec<u32>>,
    /// One for each text.
    pub(super) endings: Vec<Ending>,
}

/// The tokens of a text from the last that is not scored on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// What it follows.
    pub(super) prefix: usize,
    /// `[start − 1 ..]`
    pub(super) tokens: Vec<u32>,
}

impl Piece {
    /// From the tokens of an item's texts, each with BOS in front. False beside it: the prompt of a language modelling
    /// item ends inside a token of the whole text.
    pub(super) fn new(kind: CoreKind, item: usize, texts: Vec<Vec<u32>>) -> (Piece, bool) {
        let mut clean = true;
        let (mut prefixes, mut endings) = (Vec::new(), Vec::new());
        match kind {
            CoreKind::MultipleChoice => {
                let start = common(&texts, |text, i| text[i]);
                for (i, mut text) in texts.into_iter().enumerate() {
                    let tokens = text.split_off(start - 1);
                    endings.push(Ending { prefix: 0, tokens });
                    if i == 0 {
                        prefixes.push(text);
                    }
                }
            }
            CoreKind::Schema => {
                let end = common(&texts, |text, i| text[text.len() - 1 - i]);
                for (prefix, mut text) in texts.into_iter().enumerate() {
                    // Where all are one text, nothing tells them apart and nothing is scored.
                    let scored = if end < text.len() { end } else { 0 };
                    let tokens = text.split_off(text.len() - scored - 1);
                    endings.push(Ending { prefix, tokens });
                    prefixes.push(text);
                }
            }
            CoreKind::LanguageModeling => {
                let start = common(&texts, |text, i| text[i]);
                clean = start == texts[0].len();
                let mut text = texts.into_iter().next_back().expect("two texts");
                let tokens = text.split_off(start - 1);
                endings.push(Ending { prefix: 0, tokens });
                prefixes.push(text);
            }
        }
        let piece = Piece {
            item,
            prefixes,
            endings,
        };
        (piece, clean)
    }

    /// Tokens that the model has to read.
    pub(super) fn tokens(&self) -> usize {
        let prefixes: usize = self.prefixes.iter().map(Vec::len).sum();
        prefixes + self.endings.iter().map(Ending::span).sum::<usize>()
    }

    /// The longest prefix.
    pub(super) fn before(&self) -> usize {
        self.prefixes.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The longest ending.
    pub(super) fn span(&self) -> usize {
        self.endings.iter().map(Ending::span).max().unwrap_or(0)
    }
}

impl Ending {
    /// Tokens that are scored.
    pub(super) fn span(&self) -> usize {
        self.tokens.len() - 1
    }
}

/// Tokens that all texts have in common, `token` being the i-th from the end that is meant.
fn common(texts: &[Vec<u32>], token: impl Fn(&[u32], usize) -> u32) -> usize {
    let shortest = texts.iter().map(Vec::len).min().unwrap_or(0);
    let same = |&i: &usize| texts.windows(2).all(|pair| token(&pair[0], i) == token(&pair[1], i));
    (0..shortest).take_while(same).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: CoreKind, texts: &[&[u32]]) -> (Piece, bool) {
        Piece::new(kind, 3, texts.iter().map(|text| text.to_vec()).collect())
    }

    fn ending(prefix: usize, tokens: &[u32]) -> Ending {
        Ending {
            prefix,
            tokens: tokens.to_vec(),
        }
    }

    #[test]
    fn options_are_scored_from_where_they_differ() {
        let (piece, clean) = piece(CoreKind::MultipleChoice, &[&[9, 1, 2, 3], &[9, 1, 2], &[9, 1, 2, 4, 5]]);
        assert!(clean);
        assert_eq!((piece.item, &piece.prefixes), (3, &vec![vec![9, 1]]));
        // The second is the beginning of the others: nothing of it is scored.
        assert_eq!(
            piece.endings,
            [ending(0, &[2, 3]), ending(0, &[2]), ending(0, &[2, 4, 5])]
        );
        assert_eq!((piece.tokens(), piece.before(), piece.span()), (5, 2, 2));
    }

    #[test]
    fn schemas_are_scored_by_what_they_end_in() {
        let (piece, _) = piece(CoreKind::Schema, &[&[9, 1, 7, 8], &[9, 2, 3, 7, 8]]);
        assert_eq!(piece.prefixes, [vec![9], vec![9, 2]]);
        assert_eq!(piece.endings, [ending(0, &[1, 7, 8]), ending(1, &[3, 7, 8])]);
    }

    #[test]
    fn a_schema_may_begin_with_what_it_ends_in() {
        let (piece, _) = piece(CoreKind::Schema, &[&[9, 7, 8], &[9, 2, 3, 7, 8]]);
        assert_eq!(piece.prefixes, [vec![], vec![9, 2]]);
        assert_eq!(piece.endings, [ending(0, &[9, 7, 8]), ending(1, &[3, 7, 8])]);
    }

    #[test]
    fn equal_schemas_have_nothing_to_score() {
        let (piece, _) = piece(CoreKind::Schema, &[&[9, 1], &[9, 1]]);
        assert_eq!(piece.span(), 0);
    }

    #[test]
    fn continuations_are_scored_behind_their_prompt() {
        let (whole, clean) = piece(CoreKind::LanguageModeling, &[&[9, 1], &[9, 1, 5, 6]]);
        assert_eq!(
            (&whole.prefixes[..], &whole.endings[..]),
            (&[vec![9]][..], &[ending(0, &[1, 5, 6])][..])
        );
        assert!(clean);
        let (cut, clean) = piece(CoreKind::LanguageModeling, &[&[9, 1, 4], &[9, 1, 5, 6]]);
        assert_eq!((cut, clean), (whole, false));
        let (bare, _) = piece(CoreKind::LanguageModeling, &[&[9], &[9, 4]]);
        assert_eq!(bare.before(), 0);
    }
}
