//! `encode TOKENIZER < text` prints the ids of the text as one JSON array.
//! `encode TOKENIZER --lines < strings` takes a JSON string on each line and prints an array for each.
//!
//! TOKENIZER is a `tokenizer.json`. The outsiders' check (`tests/outsiders.py`) calls this.

use std::error::Error;
use std::io::{BufRead, Read, Write, stdin, stdout};
use std::path::Path;

use ferrochat_tokenizer::Tokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, lines) = match &arguments[..] {
        [path] => (path, false),
        [path, flag] if flag == "--lines" => (path, true),
        _ => return Err("usage: encode TOKENIZER [--lines] < text".into()),
    };
    let tokenizer = Tokenizer::load(Path::new(path))?;
    let mut out = stdout().lock();
    if lines {
        for line in stdin().lock().lines() {
            let text: String = serde_json::from_str(&line?)?;
            serde_json::to_writer(&mut out, &tokenizer.encode_ordinary(&text))?;
            writeln!(out)?;
        }
    } else {
        let mut text = String::new();
        stdin().lock().read_to_string(&mut text)?;
        serde_json::to_writer(&mut out, &tokenizer.encode_ordinary(&text))?;
        writeln!(out)?;
    }
    Ok(())
}
