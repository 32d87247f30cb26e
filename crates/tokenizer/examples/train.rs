//! `train OUT VOCAB_SIZE < text` trains a BPE on a text as one document, and
//! `train OUT characters < text` a character vocabulary. OUT is the `tokenizer.json` to write; where it
//! ends in `.tiktoken`, the ranks are written instead.
//! With `--lines`, each line of the input is a document as a JSON string, cut at 10,000 characters.

use std::error::Error;
use std::io::{BufRead, Read, stdin};
use std::path::Path;

use ferrochat_tokenizer::{CharTrainer, Tokenizer, Trainer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (out, size, lines) = match &arguments[..] {
        [out, size] => (out, size, false),
        [out, size, flag] if flag == "--lines" => (out, size, true),
        _ => return Err("usage: train OUT VOCAB_SIZE|characters [--lines] < text".into()),
    };
    let tokenizer = train(size, lines)?;
    let out = Path::new(out);
    if out.extension().is_some_and(|extension| extension == "tiktoken") {
        let ranks = tokenizer.to_tiktoken().ok_or("a character vocabulary has no ranks")?;
        std::fs::write(out, ranks)?;
    } else {
        tokenizer.save(out)?;
    }
    println!("{} {}", tokenizer.vocab_size(), tokenizer.fingerprint());
    Ok(())
}

fn train(size: &str, lines: bool) -> Result<Tokenizer, Box<dyn Error>> {
    let mut text = String::new();
    if size == "characters" {
        let mut trainer = CharTrainer::new();
        stdin().lock().read_to_string(&mut text)?;
        trainer.feed(&text);
        return Ok(trainer.finish()?);
    }
    let mut trainer = Trainer::new(size.parse()?)?;
    let start = std::time::Instant::now();
    if lines {
        for line in stdin().lock().lines() {
            trainer.feed(&serde_json::from_str::<String>(&line?)?);
        }
    } else {
        trainer = trainer.doc_cap(usize::MAX);
        stdin().lock().read_to_string(&mut text)?;
        trainer.feed(&text);
    }
    let counted = start.elapsed();
    let tokenizer = trainer.finish(&mut |_, _| ())?;
    eprintln!("counted in {counted:.2?}, all in {:.2?}", start.elapsed());
    Ok(tokenizer)
}
