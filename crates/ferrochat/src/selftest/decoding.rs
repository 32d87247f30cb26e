//! Greedy decoding with a KV cache beside the CPU's: prompts of different lengths in one batch, rows that come and go,
//! a cache that grows.

use anyhow::Result;
use ferrochat_model::{Decoder, GenerateError, Gpt};
use ferrochat_tensor::check::Part;
use ferrochat_tensor::{Choice, DType};

use super::lines::{Line, Lines, guarded};
use super::source::Source;
use super::subject::Subject;
use super::training::Trained;

const PART: &str = "decoding";

/// Logits that the reference has nearer to each other than this are a tie: rounding decides.
const TIE: f32 = 2e-4;

/// What a decoder said: of each row at each position the likeliest token, and all logits.
struct Said {
    tokens: Vec<i32>,
    /// How far the second token is behind.
    leads: Vec<f32>,
    logits: Vec<f32>,
    /// How often the device chose another token than the likeliest of its own logits.
    other_choices: usize,
}

impl Said {
    fn hear(&mut self, logits: &[f32]) -> i32 {
        let best = argmax(logits);
        let second = logits.iter().enumerate().filter(|&(i, _)| i != best);
        let second = second.fold(f32::NEG_INFINITY, |most, (_, &logit)| most.max(logit));
        self.tokens.push(best as i32);
        self.leads.push(logits[best] - second);
        self.logits.extend_from_slice(logits);
        best as i32
    }
}

/// The lowest of the likeliest.
fn argmax(logits: &[f32]) -> usize {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better)
}

/// Decodes greedily; with a script, goes on with its tokens, so that one tie does not part two devices for good.
fn decode(gpt: &Gpt, prompts: &[Vec<i32>], steps: usize, script: Option<&[i32]>) -> Result<Said, GenerateError> {
    let mut decoder = Decoder::new(gpt);
    let mut said = Said {
        tokens: Vec::new(),
        leads: Vec::new(),
        logits: Vec::new(),
        other_choices: 0,
    };
    let follow = |said: &mut Said, logits: &[f32]| {
        let own = said.hear(logits);
        script.map_or(own, |script| script[said.tokens.len() - 1])
    };
    let (last, first) = prompts.split_last().expect("there are prompts");
    let first: Vec<&[i32]> = first.iter().map(Vec::as_slice).collect();
    let begun = decoder.prefill(&first)?;
    decoder.append(&begun, &(0..first.len()).collect::<Vec<_>>())?;
    let mut next: Vec<i32> = (0..first.len())
        .map(|row| follow(&mut said, &begun.logits(row)))
        .collect();
    for step in 0..steps {
        decoder.push(&next)?;
        let heard = said.tokens.len();
        next = (0..decoder.rows())
            .map(|row| follow(&mut said, &decoder.logits(row)))
            .collect();
        let greedy: Vec<Choice> = (0..decoder.rows()).map(Choice::greedy).collect();
        let chosen = decoder.choose(&greedy);
        said.other_choices += chosen.iter().zip(&said.tokens[heard..]).filter(|(a, b)| a != b).count();
        if step == steps / 3 {
            let late = decoder.prefill(&[last])?;
            decoder.append(&late, &[0])?;
            next.push(follow(&mut said, &late.logits(0)));
        }
        if step == steps / 2 {
            decoder.swap_remove(1);
            next.swap_remove(1);
        }
    }
    Ok(said)
}

/// Prompts of lengths that end beside and at the edges of blocks; one that grows beyond a cache's first capacity.
fn prompts(trained: &Trained, quick: bool) -> Vec<Vec<i32>> {
    let source = Source::new(trained.config.vocab_size, 99);
    let lengths: &[usize] = if quick || trained.config.sequence_len < 256 {
        &[3, 17, 40, 1]
    } else {
        &[3, 17, 240, 64, 1]
    };
    (0..).zip(lengths).map(|(row, &len)| source.row(row, len)).collect()
}

/// Decodes on the CPU and on the device.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, trained: &Trained, lines: &mut Lines) -> Result<()> {
    let steps = if subject.quick { 12 } else { 60 };
    let prompts = prompts(trained, subject.quick);
    let reference = trained.on(&subject.reference()?)?;
    let wanted = decode(&reference, &prompts, steps, None)?;
    for dtype in subject.dtypes() {
        let device = subject.device(dtype)?;
        let gpt = trained.on(&device)?;
        let name = format!("{} tokens of {} prompts", wanted.tokens.len(), prompts.len());
        lines.count(1);
        lines.push(&match guarded(|| decode(&gpt, &prompts, steps, Some(&wanted.tokens))) {
            Ok(said) => judge(&name, dtype, &said?, &wanted),
            Err(sentence) => Line::judged(PART, name, Some(dtype.name()), &[sentence]),
        })?;
    }
    Ok(())
}

fn judge(name: &str, dtype: DType, ours: &Said, wanted: &Said) -> Line {
    let f32 = dtype == DType::F32;
    // As for the logits of the model's fixtures.
    let mut parts = vec![Part::measured(
        "logits",
        &ours.logits,
        &wanted.logits,
        if f32 { 1e-4 } else { 0.03 },
    )];
    let sentence = format!("are not the likeliest of its own logits {} times", ours.other_choices);
    parts.push(Part::required(
        "tokens chosen on the device",
        ours.other_choices == 0,
        sentence,
    ));
    let pairs = ours.tokens.iter().zip(&wanted.tokens).zip(&wanted.leads);
    let other: Vec<f32> = pairs.filter(|((a, b), _)| a != b).map(|(_, &lead)| lead).collect();
    let ties = other.iter().filter(|&&lead| lead < TIE).count();
    if f32 {
        let sentence = format!("are others {} times, and not because of ties", other.len() - ties);
        parts.push(Part::required("greedy tokens", other.len() == ties, sentence));
    }
    let mut line = Line::of_parts(PART, name, Some(dtype.name()), &parts);
    if parts.iter().all(|part| part.complaint.is_none()) {
        let equal = ours.tokens.len() - other.len();
        let ties = if f32 && ties > 0 {
            format!(" ({ties} ties)")
        } else {
            String::new()
        };
        line.detail = format!(
            "{equal} of {} greedy tokens are the CPU's{ties}; logits {}",
            ours.tokens.len(),
            line.detail
        );
    }
    line.with("equal_tokens", (ours.tokens.len() - other.len()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::lines::Verdict;

    fn said(logits: &[[f32; 3]]) -> Said {
        let mut said = Said {
            tokens: Vec::new(),
            leads: Vec::new(),
            logits: Vec::new(),
            other_choices: 0,
        };
        for logits in logits {
            said.hear(logits);
        }
        said
    }

    #[test]
    fn another_token_fails_unless_it_was_a_tie() {
        let wanted = said(&[[1.0, 3.0, 2.0], [5.0, 5.0 - 1e-5, -1.0]]);
        assert_eq!(wanted.tokens, [1, 0]);
        let verdict = |logits: &[[f32; 3]], dtype| judge("tokens", dtype, &said(logits), &wanted).verdict;
        assert_eq!(
            verdict(&[[1.0, 3.0, 2.0], [5.0, 5.0 + 1e-5, -1.0]], DType::F32),
            Verdict::Ok
        );
        assert_eq!(verdict(&[[1.0, 2.0, 3.0], [5.0, 4.9, -1.0]], DType::F32), Verdict::Fail);
        assert_eq!(
            verdict(&[[1.0, 3.0, 2.02], [5.0, 5.0, -1.0]], DType::F32),
            Verdict::Fail,
            "other logits"
        );
        assert_eq!(
            verdict(&[[1.0, 3.0, 2.02], [5.0, 5.01, -1.0]], DType::Bf16),
            Verdict::Ok
        );
    }
}
