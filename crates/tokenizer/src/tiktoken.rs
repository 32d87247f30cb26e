//! `.tiktoken` rank files: on each line a token in base64 and its rank. They hold no merges; those follow
//! from the ranks, since a token's halves are what the earlier merges make of its bytes.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::bpe::Bpe;
use crate::error::Fault;
use crate::split::Splitter;
use crate::{Tokenizer, TokenizerError};

/// See [`Tokenizer::from_tiktoken`].
pub(crate) fn read(ranks: &[u8], pattern: &str) -> Result<Tokenizer, TokenizerError> {
    let splitter = Splitter::new(pattern).map_err(|problem| TokenizerError::Pattern {
        pattern: pattern.to_owned(),
        problem,
    })?;
    parse(ranks)
        .and_then(|tokens| with_merges(splitter, &tokens))
        .map_err(|fault| fault.in_file(Path::new("tiktoken ranks")))
}

/// The tokens by rank.
fn parse(ranks: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let mut lines = Vec::new();
    for (number, line) in ranks.split(|&byte| byte == b'\n').enumerate() {
        let place = || format!("line {}", number + 1);
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (token, rank) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(' '))
            .ok_or_else(|| Fault::new(place(), "expected a token in base64, a space and its rank"))?;
        let token = BASE64
            .decode(token)
            .map_err(|error| Fault::new(place(), format!("the token is not base64: {error}")))?;
        let rank: usize = rank
            .parse()
            .map_err(|_| Fault::new(place(), format!("the rank {rank:?} is not a number")))?;
        lines.push((rank, token, number));
    }
    lines.sort();
    for (expected, (rank, _, number)) in lines.iter().enumerate() {
        if *rank != expected {
            let problem = format!("rank {rank} where {expected} should follow; ranks must not have gaps");
            return Err(Fault::new(format!("line {}", number + 1), problem));
        }
    }
    Ok(lines.into_iter().map(|(_, token, _)| token).collect())
}

fn with_merges(splitter: Splitter, tokens: &[Vec<u8>]) -> Result<Tokenizer, Fault> {
    let mut byte_order = [0; 256];
    let mut seen = [false; 256];
    for (rank, slot) in byte_order.iter_mut().enumerate() {
        match tokens.get(rank).map(Vec::as_slice) {
            Some(&[byte]) if !seen[byte as usize] => {
                seen[byte as usize] = true;
                *slot = byte;
            }
            _ => {
                let problem = "the first 256 ranks must be the 256 single bytes";
                return Err(Fault::new(format!("rank {rank}"), problem));
            }
        }
    }
    let mut bpe = Bpe::new(splitter, &byte_order);
    for (rank, token) in tokens.iter().enumerate().skip(256) {
        let &[left, right] = &bpe.merge_so_far(token)[..] else {
            let problem = format!(
                "the token {:?} is not a merge of two earlier ones",
                token.escape_ascii().to_string()
            );
            return Err(Fault::new(format!("rank {rank}"), problem));
        };
        if !bpe.push((left, right)) {
            return Err(Fault::new(format!("rank {rank}"), "a token that was there before"));
        }
    }
    Ok(Tokenizer::from_bpe(bpe))
}

/// See [`Tokenizer::to_tiktoken`].
pub(crate) fn write(tokenizer: &Tokenizer) -> String {
    let mut text = String::new();
    for id in 0..tokenizer.bos() {
        let token = BASE64.encode(tokenizer.token_bytes(id));
        writeln!(text, "{token} {id}").expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SPLIT_PATTERN;

    fn bytes_and(more: &str) -> Vec<u8> {
        let mut text = String::new();
        for byte in 0..=255_u8 {
            writeln!(text, "{} {byte}", BASE64.encode([byte])).unwrap();
        }
        text.push_str(more);
        text.into_bytes()
    }

    #[test]
    fn finds_the_merges_again() {
        let file = bytes_and("YWI= 256\nYWJhYg== 257\n");
        let tokenizer = Tokenizer::from_tiktoken(&file, SPLIT_PATTERN).unwrap();
        assert_eq!(tokenizer.encode_ordinary("ababab"), [257, 256]);
        assert_eq!(tokenizer.to_tiktoken().unwrap().into_bytes(), file);
    }

    #[test]
    fn faults_name_their_place() {
        let fault = |file: &[u8]| read(file, SPLIT_PATTERN).unwrap_err().to_string();
        assert!(fault(b"").contains("rank 0"));
        assert!(fault(&bytes_and("YWI=")).contains("line 257"));
        assert!(fault(&bytes_and("Y!I= 256")).contains("line 257: the token is not base64"));
        assert!(fault(&bytes_and("YWI= x")).contains("line 257: the rank"));
        assert!(fault(&bytes_and("YWI= 300")).contains("rank 300 where 256"));
        assert!(fault(&bytes_and("YWJj 256")).contains("rank 256: the token \"abc\" is not a merge"));
        assert!(fault(&bytes_and("YWI= 256\nYWI= 257")).contains("rank 257"));
        assert!(fault(&bytes_and("YQ== 256")).contains("rank 256"));
        assert!(
            read(&bytes_and(""), "(.*")
                .unwrap_err()
                .to_string()
                .contains("cannot use the split pattern \"(.*\"")
        );
    }
}
