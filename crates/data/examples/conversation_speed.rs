//! How long conversations take to become batches, and what they come to:
//! `cargo run --release -p ferrochat-data --example conversation_speed -- VOCABULARY CONVERSATIONS`
//! with a tiktoken vocabulary and a file or folder of conversations.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ferrochat_data::{
    ConversationLoader, ConversationLoaderConfig, ConversationPacking, LoaderState, Mixture, open_conversations,
};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};

const ROWS: usize = 8;
const LENGTH: usize = 2048;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vocabulary, conversations] = arguments.as_slice() else {
        return Err("give a tiktoken vocabulary and a file or folder of conversations".into());
    };
    let tokenizer = Arc::new(Tokenizer::from_tiktoken(&std::fs::read(vocabulary)?, SPLIT_PATTERN)?);
    let begun = Instant::now();
    let source = open_conversations(Path::new(conversations))?;
    let opened = begun.elapsed().as_secs_f64();
    println!("{} conversations opened and checked in {opened:.2} s", source.count());
    let mixture = Mixture::new(42).with("conversations", source, 1)?;
    for packing in [
        ConversationPacking::BestFit,
        ConversationPacking::OnePerRow,
        ConversationPacking::Stream,
    ] {
        for threads in [1, 2] {
            let config = ConversationLoaderConfig {
                threads,
                ..ConversationLoaderConfig::new(ROWS, LENGTH, packing)
            };
            let begun = Instant::now();
            let survey = ConversationLoader::survey(&mixture, &tokenizer, &config)?;
            let seconds = begun.elapsed().as_secs_f64();
            let counters = survey.counters;
            let room = counters.rows * LENGTH as u64;
            println!(
                "{packing}, {threads} thread(s): {seconds:.2} s, {:.2} M tokens/s, {} rows, {} batches, \
                 {} tokens read, {} lost, {:.1}% of {room} places are targets",
                counters.tokens_read as f64 / seconds / 1e6,
                counters.rows,
                survey.batches,
                counters.tokens_read,
                counters.tokens_dropped,
                100.0 * survey.targets as f64 / room as f64,
            );
        }
        let config = ConversationLoaderConfig::new(ROWS, LENGTH, packing);
        let mut loader = ConversationLoader::start(&mixture, &tokenizer, config, None)?;
        if let Some(batch) = loader.next_batch()? {
            let begun = Instant::now();
            let bytes = batch.state.to_bytes();
            LoaderState::from_bytes(&bytes)?;
            let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
            println!(
                "  its state: {} bytes, written and read in {milliseconds:.2} ms",
                bytes.len()
            );
        }
    }
    Ok(())
}
