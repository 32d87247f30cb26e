//! `tokenizer …`: files of several kinds, JSON lines, pages, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::Place;

const TEXT: &str = "The cat and the hat. The end of the cat, and the end of the hat!\n";

/// A tokenizer trained on a little text, as `tokenizer.json` and as ranks.
fn trained(place: &Place) -> [String; 2] {
    let data = place.file("text.txt", &TEXT.repeat(300));
    ["small.json", "small.tiktoken"].map(|name| {
        let file = place.file(name, "");
        std::fs::remove_file(&file).unwrap();
        let flags = [
            "tokenizer",
            "train",
            "--data",
            &data,
            "--vocab-size",
            "280",
            "--output",
            &file,
        ];
        place.succeed(&flags);
        file
    })
}

fn fed(place: &Place, args: &[&str], input: &str) -> std::process::Output {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn both_files_encode_alike_and_lines_are_texts() {
    let place = Place::new();
    let files = trained(&place);
    let mut answers = Vec::new();
    for file in &files {
        let args = ["tokenizer", "encode", "--tokenizer", file, "--jsonl"];
        let output = fed(&place, &args, "\"the cat\"\n\"\"\n\"\\u00e9 the\\nend\"\n");
        assert!(output.status.success(), "{}", common::stderr(&output));
        answers.push(String::from_utf8(output.stdout).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    let lines: Vec<Vec<u32>> = answers[0]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], [0; 0]);
    let alone = place.succeed(&["tokenizer", "encode", "--file", &files[0], "--json", "the cat"]);
    assert_eq!(serde_json::from_str::<Vec<u32>>(&alone).unwrap(), lines[0]);
    let ids: Vec<String> = lines[2].iter().map(ToString::to_string).collect();
    let mut decode = vec!["tokenizer", "decode", "--tokenizer", &files[1], "--json"];
    decode.extend(ids.iter().map(String::as_str));
    assert_eq!(place.succeed(&decode), "\"é the\\nend\"\n");

    let output = fed(
        &place,
        &["tokenizer", "encode", "--tokenizer", &files[0], "--jsonl"],
        "\"a\"\nb\n",
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(common::stderr(&output).contains("line 2 of stdin is not a JSON string"));
}

#[test]
fn special_tokens_only_where_they_are_named() {
    let place = Place::new();
    let [file, _] = trained(&place);
    let args = ["tokenizer", "encode", "--tokenizer", &file, "--json"];
    let ids = |more: &[&str]| -> Vec<u32> {
        let answer = place.succeed(&[&args[..], more, &["<|bos|>a<|user_end|>"]].concat());
        serde_json::from_str(&answer).unwrap()
    };
    assert!(ids(&[]).iter().all(|&id| id < 271));
    let special = ids(&["--special", "<|bos|>"]);
    assert_eq!(special.iter().filter(|&&id| id >= 271).count(), 1);
    assert_eq!(special[0], 271);
    place.refused(
        &[&args[..], &["--special", "<|x|>", "a"]].concat(),
        2,
        &["<|x|>", "<|bos|>"],
    );
}

#[test]
fn eval_and_inspect_speak_of_the_text() {
    let place = Place::new();
    let [file, _] = trained(&place);
    let text = place.file("more.txt", TEXT);
    let answer = place.succeed(&["tokenizer", "eval", "--tokenizer", &file, "--text", &text, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let texts = answer["texts"].as_array().unwrap();
    assert!(texts.len() > 5 && texts[0]["gpt2_tokens"].as_u64().unwrap() > 0);
    let own = texts.last().unwrap();
    assert_eq!(own["bytes"].as_u64(), Some(TEXT.len() as u64));
    assert!(own["bytes_per_token"].as_f64().unwrap() > 2.0);
    assert!(own["gpt2_tokens"].is_null());
    assert!(
        place
            .succeed(&["tokenizer", "eval", "--tokenizer", &file])
            .contains("GPT-4")
    );

    let shown = place.succeed(&["tokenizer", "inspect", "--tokenizer", &file, "the <cat>"]);
    let first = shown.lines().next().unwrap();
    assert!(first.contains("| |") || first.contains("| <"), "{shown}");
    assert_eq!(first.replace('|', ""), "the <cat>");
    let page = place.file("page.html", "");
    place.succeed(&[
        "tokenizer",
        "inspect",
        "--tokenizer",
        &file,
        "--html",
        &page,
        "the <cat>",
    ]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;") && page.contains("title=\"") && !page.contains("<cat"));
}

#[test]
fn files_that_cannot_work_are_refused() {
    let place = Place::new();
    let bad = place.file("bad.tiktoken", "YQ== 0\nnonsense\n");
    let encode = ["tokenizer", "encode", "--tokenizer"];
    place.refused(&[&encode[..], &[&bad, "x"]].concat(), 2, &["bad.tiktoken", "line 2"]);
    let merges = place.file("merges.bpe", "");
    place.refused(&[&encode[..], &[&merges, "x"]].concat(), 2, &["vocab.bpe"]);
    let merges = place.file("vocab.bpe", "");
    place.refused(&[&encode[..], &[&merges, "x"]].concat(), 2, &["encoder.json"]);
    let [_, ranks] = trained(&place);
    let flags = ["--pattern", "(x", "y"];
    place.refused(&[&encode[..], &[&ranks], &flags].concat(), 2, &["split pattern", "(x"]);
    let data = place.file("text.txt", TEXT);
    let out = place.file("out.tiktoken", "");
    place.refused(
        &[
            "tokenizer",
            "train",
            "--data",
            &data,
            "--tokenizer",
            "char",
            "--output",
            &out,
        ],
        2,
        &["ranks", ".json"],
    );
}
