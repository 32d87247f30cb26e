//! `tokenizer eval`: how well a vocabulary compresses, by kind of text, beside GPT-2's and GPT-4's.
//!
//! Their counts for the samples are constants (from tiktoken 0.14.0), so that no vocabulary of theirs is
//! needed; for other text their rank files are.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use ferrochat_tokenizer::Tokenizer;
use serde_json::json;

use super::{Chosen, load};
use crate::home::Home;
use crate::output;

/// A text of one kind, and what it takes elsewhere.
struct Sample {
    kind: &'static str,
    text: &'static str,
    /// Tokens of r50k_base.
    gpt2: usize,
    /// Tokens of cl100k_base.
    gpt4: usize,
}

macro_rules! samples {
    ($($kind:literal: $gpt2:literal, $gpt4:literal;)*) => {
        [$(Sample {
            kind: $kind,
            text: include_str!(concat!("samples/", $kind, ".txt")),
            gpt2: $gpt2,
            gpt4: $gpt4,
        }),*]
    };
}

static SAMPLES: [Sample; 10] = samples! {
    "prose": 188, 183;
    "news": 160, 166;
    "dialogue": 176, 177;
    "python": 402, 233;
    "rust": 308, 194;
    "mathematics": 274, 240;
    "sums": 198, 222;
    "web": 341, 263;
    "european": 468, 314;
    "asian": 623, 379;
};

/// `tokenizer eval`
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Which tokenizer.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Also measure this file of text (any number of times)
    #[arg(long, value_name = "FILE")]
    pub text: Vec<PathBuf>,
    /// GPT-2's ranks (r50k_base.tiktoken), to compare on --text too
    #[arg(long, value_name = "FILE")]
    pub gpt2: Option<PathBuf>,
    /// GPT-4's ranks (cl100k_base.tiktoken), to compare on --text too
    #[arg(long, value_name = "FILE")]
    pub gpt4: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// One line of the answer.
struct Measured {
    kind: String,
    bytes: usize,
    ours: usize,
    /// GPT-2 and GPT-4.
    theirs: [Option<usize>; 2],
}

/// `tokenizer eval`
///
/// # Errors
/// Files that are missing or not what they should be.
pub fn eval(home: &Home, args: &EvalArgs) -> Result<()> {
    let tokenizer = args.chosen.load(home)?;
    let mut lines: Vec<Measured> = SAMPLES
        .iter()
        .map(|sample| Measured {
            kind: sample.kind.to_owned(),
            bytes: sample.text.len(),
            ours: tokenizer.encode_ordinary(sample.text).len(),
            theirs: [Some(sample.gpt2), Some(sample.gpt4)],
        })
        .collect();
    let other = |file: &Option<PathBuf>, pattern| file.as_ref().map(|file| load(file, pattern)).transpose();
    let others = [other(&args.gpt2, "gpt2")?, other(&args.gpt4, "cl100k")?];
    for path in &args.text {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let tokens = |tokenizer: &Tokenizer| tokenizer.encode_ordinary(&text).len();
        lines.push(Measured {
            kind: path.display().to_string(),
            bytes: text.len(),
            ours: tokens(&tokenizer),
            theirs: others.each_ref().map(|other| other.as_ref().map(tokens)),
        });
    }
    if args.json {
        let lines: Vec<_> = lines.iter().map(Measured::json).collect();
        return output::print_json(&json!({"vocab_size": tokenizer.vocab_size(), "texts": lines}));
    }
    let header = [
        "text",
        "bytes",
        "tokens",
        "bytes/token",
        "GPT-2",
        "fewer",
        "GPT-4",
        "fewer",
    ];
    let rows: Vec<Vec<String>> = lines.iter().map(Measured::row).collect();
    output::print(&format!(
        "{} ids; bytes per token, and how many tokens fewer than GPT-2 (50,257 ids) and GPT-4 (100,277 ids)\n{}",
        crate::format::thousands(tokenizer.vocab_size() as u64),
        output::table(&header, &rows)
    ))
}

impl Measured {
    fn ratio(&self, tokens: usize) -> f64 {
        self.bytes as f64 / tokens.max(1) as f64
    }

    /// How many fewer tokens than another vocabulary's, as a part of those.
    fn fewer(&self, tokens: usize) -> f64 {
        1.0 - self.ours as f64 / tokens.max(1) as f64
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "text": self.kind,
            "bytes": self.bytes,
            "tokens": self.ours,
            "bytes_per_token": self.ratio(self.ours),
            "gpt2_tokens": self.theirs[0],
            "gpt4_tokens": self.theirs[1],
        })
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![
            self.kind.clone(),
            self.bytes.to_string(),
            self.ours.to_string(),
            format!("{:.2}", self.ratio(self.ours)),
        ];
        for theirs in self.theirs {
            row.push(theirs.map_or("-".to_owned(), |tokens| format!("{:.2}", self.ratio(tokens))));
            row.push(theirs.map_or("-".to_owned(), |tokens| format!("{:+.1}%", 100.0 * self.fewer(tokens))));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_a_size_that_says_something() {
        for sample in &SAMPLES {
            assert!(sample.text.len() > 400, "{}", sample.kind);
            let range = sample.text.len() / 6..sample.text.len();
            assert!(
                range.contains(&sample.gpt2) && range.contains(&sample.gpt4),
                "{}",
                sample.kind
            );
        }
    }

    /// Needs the rank files, which are not part of the project.
    #[test]
    #[ignore = "needs FERROCHAT_REFERENCE_DATA"]
    fn constants_are_what_their_ranks_make() {
        let folder = PathBuf::from(std::env::var_os("FERROCHAT_REFERENCE_DATA").unwrap()).join("tokenizer");
        let gpt2 = load(&folder.join("r50k_base.tiktoken"), "gpt2").unwrap();
        let gpt4 = load(&folder.join("cl100k_base.tiktoken"), "cl100k").unwrap();
        for sample in &SAMPLES {
            assert_eq!(gpt2.encode_ordinary(sample.text).len(), sample.gpt2, "{}", sample.kind);
            assert_eq!(gpt4.encode_ordinary(sample.text).len(), sample.gpt4, "{}", sample.kind);
        }
    }

    #[test]
    fn fewer_is_a_part_of_theirs() {
        let measured = Measured {
            kind: "x".to_owned(),
            bytes: 300,
            ours: 75,
            theirs: [Some(100), None],
        };
        assert_eq!(measured.row(), ["x", "300", "75", "4.00", "3.00", "+25.0%", "-", "-"]);
    }
}
