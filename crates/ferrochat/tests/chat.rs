//! Talking to a model by the program: one message, a pipe, lines of JSON, and what cannot work.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Write as _;
use std::process::{Output, Stdio};

use common::{Place, TINY, stderr, with};
use serde_json::{Value, json};

const GREEDY: &[&str] = &["--temperature", "0", "--max-tokens", "12"];

/// A place with a tiny model that has seen a little text.
fn trained() -> Place {
    trained_for("30")
}

fn trained_for(steps: &str) -> Place {
    let place = Place::new();
    let flags = [
        "--run",
        "talker",
        "--num-iterations",
        steps,
        "--max-seq-len",
        "64",
        "--eval-every",
        "-1",
        "--preset",
        "spark",
    ];
    place.succeed(&with(&with(&["train", "base"], TINY), &flags));
    place
}

/// A place with a tiny model that has seen conversations, too, and answers one thing to this and another to that.
fn taught() -> Place {
    let place = trained_for("300");
    place.succeed(&[
        "train",
        "sft",
        "--run",
        "talker",
        "--num-iterations",
        "200",
        "--init-lr-frac",
        "1",
    ]);
    place
}

fn piped(place: &Place, args: &[&str], input: &[u8]) -> Output {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its flags does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The lines of JSON that come of `input`, and the exit code.
fn answers(place: &Place, flags: &[&str], input: &str) -> (Vec<Value>, Option<i32>) {
    let output = piped(place, &with(&["chat", "--jsonl"], flags), input.as_bytes());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, output.status.code())
}

fn asked(question: &str) -> String {
    json!({"messages": [{"role": "user", "content": question}]}).to_string()
}

#[test]
fn one_message_is_answered_alike_by_flag_pipe_and_line() {
    let place = taught();
    let ask = |flags: &[&str]| stdout(&place.run(&with(&with(&["chat", "-p", "The duck"], GREEDY), flags)));
    let answer = ask(&["--run", "talker"]);
    assert!(answer.ends_with('\n') && answer.trim().len() > 3, "{answer:?}");
    assert_eq!(ask(&[]), answer, "without --run the newest run answers");

    let output = piped(&place, &with(&["chat"], GREEDY), b"The duck\r\n");
    assert_eq!(
        stdout(&output),
        answer,
        "the line end of a pipe is not part of the message"
    );
    let (lines, code) = answers(&place, GREEDY, &asked("The duck"));
    assert_eq!(
        (lines, code),
        (vec![json!({"content": answer.strip_suffix('\n')})], Some(0))
    );

    // A model this small may answer much alike: what must differ, differs in one of several draws.
    let drawn = |seed, flags: &[&str]| ask(&with(&["--temperature", "2", "--seed", seed], flags));
    let seeds = ["2", "3", "4", "5"];
    assert_eq!(drawn("1", &[]), drawn("1", &[]));
    assert!(seeds.iter().any(|seed| drawn(seed, &[]) != drawn("1", &[])));
    let system = &["--system", "How much is 12 plus 34? Spell it."];
    assert!(seeds.iter().any(|seed| drawn(seed, system) != drawn(seed, &[])));
}

#[test]
fn only_a_base_model_is_excused_and_later_stages_come_first() {
    let place = trained();
    let ask = || {
        let output = place.run(&with(&["chat", "--run", "talker", "-p", "Hello"], GREEDY));
        (stdout(&output), stderr(&output))
    };
    let (_, said) = ask();
    assert!(said.contains("has not been taught to chat"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // What fine-tuning will leave: a folder of its own with checkpoints.
    let sft = place.base("talker").with_file_name("sft");
    std::fs::rename(place.base("talker"), &sft).unwrap();
    let (_, said) = ask();
    assert_eq!(said, "");
}

#[test]
fn lines_are_answered_in_order_and_as_alone() {
    let place = taught();
    let questions = [
        "Who is Pepper?",
        "A",
        "A rope costs 2 pennies at the market.",
        "Yes",
        "Sums!",
    ];
    let input: String = questions.iter().map(|question| asked(question) + "\n\n").collect();
    let (together, code) = answers(&place, GREEDY, &input);
    assert_eq!((together.len(), code), (questions.len(), Some(0)));
    for (question, answer) in questions.iter().zip(&together) {
        assert_eq!(answers(&place, GREEDY, &asked(question)).0[0], *answer, "{question}");
    }
    assert!(
        together.iter().any(|answer| *answer != together[0]),
        "answers worth ordering"
    );
    // More lines than are answered at once.
    let many: String = (0..130).map(|_| asked("A") + "\n" + &asked("Yes") + "\n").collect();
    let flags = with(GREEDY, &["--max-tokens", "2"]);
    let (many, _) = answers(&place, &flags[2..], &many);
    assert_eq!(many.len(), 260);

    let other = asked("Who is Pepper?").replace("messages", "conversations");
    let other = other.replace("role", "from").replace("content", "value");
    assert_eq!(
        answers(&place, GREEDY, &other).0[0],
        together[0],
        "the other common form"
    );
    let system = json!({"messages": [
        {"role": "system", "content": "Be a goose."}, {"role": "user", "content": "Yes"},
    ]});
    let (own, _) = answers(&place, GREEDY, &system.to_string());
    assert_eq!(
        answers(&place, &with(GREEDY, &["--system", "Be a goose."]), &asked("Yes")).0,
        own
    );
    assert_eq!(
        answers(&place, &with(GREEDY, &["--system", "Be a duck."]), &system.to_string()).0,
        own
    );
}

#[test]
fn wrong_lines_get_their_error_and_the_others_their_answer() {
    let place = trained();
    let long = asked(&"word ".repeat(200_000));
    let turns = json!({"messages": [{"role": "assistant", "content": "I begin."}]}).to_string();
    let nobody = json!({"messages": []}).to_string();
    let answered = json!({"messages": [
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"},
    ]})
    .to_string();
    let lines = [
        &asked("Yes"),
        "hello",
        &turns,
        &nobody,
        "{}",
        &long,
        &answered,
        "",
        &asked("No"),
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend(b"\n{\"messages\": \"\xff\"}\n");
    let output = piped(&place, &with(&["chat", "--jsonl"], GREEDY), &input);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("error: 7 of 9 lines could not be answered"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 9);
    let expected = [
        (1, "line 2: this is not JSON"),
        (2, "line 3: message 1 is from the assistant"),
        (3, "line 4: the conversation has no messages"),
        (4, "line 5: there is neither"),
        (5, "line 6: the last message has"),
        (6, "line 7: the last message is from the assistant"),
        (8, "line 10: byte 15 is not UTF-8"),
    ];
    for (at, sentence) in expected {
        let error = answers[at]["error"].as_str().unwrap();
        assert!(error.starts_with(sentence), "{error}");
    }
    for at in [0, 7] {
        assert!(answers[at]["content"].is_string(), "{}", answers[at]);
    }
}

#[test]
fn what_cannot_work_is_one_sentence() {
    let place = Place::new();
    place.refused(&["chat", "-p", "Hello"], 2, &["no run", "speedrun"]);
    place.refused(&["chat", "-p", "Hello", "--run", "nobody"], 2, &["nobody"]);
    place.refused(&["chat", "-p", "Hello", "--jsonl"], 2, &["--jsonl"]);

    let place = trained();
    let refused = |flags: &[&str], about: &[&str]| place.refused(&with(&["chat", "-p", "Hello"], flags), 2, about);
    refused(&["--temperature", "-1"], &["--temperature"]);
    refused(&["--temperature", "nan"], &["--temperature"]);
    refused(&["--top-p", "1.5"], &["--top-p"]);
    refused(&["--max-tokens", "0"], &["--max-tokens 0"]);
    refused(&["--step", "7"], &["step 7", "30"]);
    refused(&["--run", "nobody"], &["nobody", "talker"]);
    place.refused(&["chat", "-p", " "], 2, &["empty"]);
    for (input, about) in [(&b"\n"[..], "empty"), (b"ab\xff", "byte 3 is not UTF-8")] {
        let output = piped(&place, &["chat"], input);
        let sentence = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{sentence}");
        assert!(sentence.contains(about) && sentence.lines().count() == 1, "{sentence}");
    }
    let long = "word ".repeat(300);
    place.refused(&["chat", "-p", &long], 2, &["the model can read 64"]);
}

#[test]
fn characters_that_a_model_lacks_are_named() {
    let place = Place::new();
    let data = place.file(
        "verse.txt",
        &"the cat sat on the mat and the dog sat on the log.\n".repeat(200),
    );
    let flags = [
        "--data",
        &data,
        "--tokenizer",
        "char",
        "--num-iterations",
        "5",
        "--run",
        "verse",
    ];
    place.succeed(&with(&with(&["train", "base"], &TINY[..TINY.len() - 4]), &flags));
    let refused = place.run(&["chat", "-p", "the Cat"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("'C'"), "{}", stderr(&refused));
    stdout(&place.run(&with(&["chat", "-p", "the cat"], GREEDY)));
}

#[test]
fn the_world_is_printed() {
    let place = Place::new();
    let print = |flags: &[&str]| place.succeed(&with(&["data", "world"], flags));
    let lines = |flags: &[&str]| -> Vec<Value> {
        let text = print(&with(flags, &["--jsonl", "--count", "20"]));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for (what, fields) in [
        ("--docs", &["text"][..]),
        ("--conversations", &["messages"]),
        ("--pairs", &["prompt", "chosen", "rejected"]),
        ("--questions", &["kind", "prompt", "answer"]),
    ] {
        let printed = lines(&[what]);
        assert_eq!(printed.len(), 20);
        for line in &printed {
            let has: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(
                has.len() == fields.len() && fields.iter().all(|field| has.contains(field)),
                "{line}"
            );
        }
        assert_eq!(lines(&[what, "--split", "train", "--world", "1"]), printed);
        for other in [["--split", "heldout"], ["--world", "2"], ["--seed", "2"]] {
            assert_ne!(lines(&[what, other[0], other[1]]), printed, "{what} {other:?}");
        }
        assert!(print(&[what, "--count", "2"]).lines().count() >= 4);
    }
    assert_eq!(print(&["--docs", "--count", "0"]), "");
    let refused = |flags: &[&str], about: &[&str]| place.refused(&with(&["data", "world"], flags), 2, about);
    refused(&[], &["--docs"]);
    refused(&["--docs", "--pairs"], &["--pairs"]);
    refused(&["--docs", "--split", "test"], &["--split", "train and heldout"]);
    refused(&["--docs", "--size", "huge"], &["--size", "small, medium and full"]);
}
