//! CORE on a bundle made here: prompts, draws, and what tiny random models score.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng};
use ferrochat_tasks::{
    CoreBundle, CoreKind, CoreOptions, CoreProgress, CoreScore, CoreTask, ItemScore, TaskError, score_core,
};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};

const CONFIG: &str = "icl_tasks:
-
  label: colours
  dataset_uri: some/colours.jsonl
  num_fewshot: [2]
  icl_task_type: multiple_choice
  continuation_delimiter: \"\\nAnswer: \"
-
  label: cups
  dataset_uri: cups.jsonl
  num_fewshot: [0]
  icl_task_type: schema
-
  label: sums
  dataset_uri: sums.jsonl
  num_fewshot: [3]
  icl_task_type: language_modeling
  has_categories: true
";
const BASELINES: &str = "Eval Task,Task Category,Random baseline,Description\ncolours,x,25,\"Colours, of things\"\n\
                         cups,x,50,\nother,x,1,\nsums,x,0,\n";

/// A bundle with items of different lengths.
fn write_bundle(folder: &Path) {
    fs::create_dir_all(folder.join("eval_data/some")).unwrap();
    fs::write(folder.join("core.yaml"), CONFIG).unwrap();
    fs::write(folder.join("eval_meta_data.csv"), BASELINES).unwrap();
    let lines =
        |item: &dyn Fn(usize) -> serde_json::Value| -> String { (0..9).map(|i| item(i).to_string() + "\n").collect() };
    let colours = lines(&|i| {
        let query = format!("What has colour {i}{}?", ", or so".repeat(i % 3));
        serde_json::json!({"query": query, "choices": [format!("snow {i}"), "grass", "the sea at night"], "gold": i % 3})
    });
    let cups = lines(&|i| {
        serde_json::json!({
            "context_options": [format!("The cup {i} and the cup"), "A box"], "continuation": "fell down.", "gold": i % 2
        })
    });
    let sums =
        lines(&|i| serde_json::json!({"context": format!(" {i} + {i} = \n"), "continuation": (2 * i).to_string()}));
    fs::write(folder.join("eval_data/some/colours.jsonl"), colours).unwrap();
    fs::write(folder.join("eval_data/cups.jsonl"), cups).unwrap();
    fs::write(folder.join("eval_data/sums.jsonl"), sums).unwrap();
}

fn with_bundle<T>(work: impl FnOnce(&CoreBundle) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path());
    work(&CoreBundle::open(folder.path()).unwrap())
}

#[test]
fn a_bundle_says_what_there_is() {
    with_bundle(|bundle| {
        let specs = bundle.specs();
        let of = |i: usize| {
            (
                specs[i].label.as_str(),
                specs[i].kind,
                specs[i].examples,
                specs[i].chance,
            )
        };
        assert_eq!(of(0), ("colours", CoreKind::MultipleChoice, 2, 0.25));
        assert_eq!(of(1), ("cups", CoreKind::Schema, 0, 0.5));
        assert_eq!(of(2), ("sums", CoreKind::LanguageModeling, 3, 0.0));
        assert_eq!(
            (specs[0].delimiter.as_str(), specs[1].delimiter.as_str()),
            ("\nAnswer: ", " ")
        );
    });
}

/// Order and examples of this are Python's:
/// `l = list(range(9)); random.Random(1337).shuffle(l)`, then
/// `random.Random(1234 + i).sample([j for j in range(len(l)) if j != i], 2)`.
#[test]
fn prompts_are_the_references() {
    with_bundle(|bundle| {
        let task = bundle.load(&bundle.specs()[0], None).unwrap();
        let ask = |i: usize| format!("What has colour {i}{}?\nAnswer: ", ", or so".repeat(i % 3));
        let answer = |i: usize| [format!("snow {i}"), "grass".to_owned(), "the sea at night".to_owned()][i % 3].clone();
        for (item, [own, first, second]) in COLOURS {
            let before = format!(
                "{}{}\n\n{}{}\n\n{}",
                ask(first),
                answer(first),
                ask(second),
                answer(second),
                ask(own)
            );
            let expected = [format!("snow {own}"), "grass".to_owned(), "the sea at night".to_owned()];
            assert_eq!(
                task.prompts(item),
                expected.map(|choice| before.clone() + &choice),
                "{item}"
            );
        }
        // Of five items that are kept, the examples are among these five.
        let task = bundle.load(&bundle.specs()[2], Some(5)).unwrap();
        assert_eq!(task.count(), 5);
        let [own, a, b, c] = SUMS;
        let solved = |i: usize| format!("{i} + {i} = {}\n\n", 2 * i);
        let without = format!("{}{}{}{own} + {own} =", solved(a), solved(b), solved(c));
        assert_eq!(task.prompts(1), [without.clone(), format!("{without} {}", 2 * own)]);
    });
}

/// Item; which line it is and which its examples are.
const COLOURS: [(usize, [usize; 3]); 3] = [(0, [0, 8, 3]), (4, [1, 0, 2]), (8, [8, 3, 1])];
/// Item 1 of the first five.
const SUMS: [usize; 4] = [3, 1, 2, 7];

#[test]
fn faults_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let open = || CoreBundle::open(folder.path());
    let refused = |expected: &str| {
        let error = open().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused("there is no core.yaml in");
    write_bundle(folder.path());
    let config = |from: &str, to: &str| fs::write(folder.path().join("core.yaml"), CONFIG.replace(from, to)).unwrap();
    config("schema", "riddle");
    refused("line 8: icl_task_type riddle is unknown");
    config("[2]", "[two]");
    refused("line 2: num_fewshot [two] must be a number");
    config("cups.jsonl", "../../x");
    refused("not a path inside");
    config("label: cups", "label: colours");
    refused("colours is there twice");
    config("label: cups", "label: jugs");
    refused("no row for jugs");
    config("", "");
    let mut bundle = open().unwrap();
    let data = folder.path().join("eval_data/cups.jsonl");
    fs::write(
        &data,
        "{\"context_options\":[\"a\"],\"continuation\":\"b\",\"gold\":0}\n{}\n",
    )
    .unwrap();
    let error = bundle.load(&bundle.specs()[1], None).unwrap_err();
    assert!(
        matches!(error, TaskError::Data(_)) && error.to_string().contains("line 2"),
        "{error}"
    );
    let error = bundle.load(&bundle.specs()[0], Some(2)).unwrap_err().to_string();
    assert!(error.contains("colours needs 2 other items"), "{error}");
    let error = bundle.keep(&["cups", "jugs"]).unwrap_err().to_string();
    assert!(
        error.contains("no task \"jugs\"; it has colours, cups, sums"),
        "{error}"
    );
    bundle.keep(&["sums"]).unwrap();
    assert_eq!(bundle.specs().len(), 1);
}

fn tokenizer() -> Tokenizer {
    let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
    Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
}

/// Weights that are not small, so that scores differ.
fn model(vocab_size: usize, sequence_len: usize) -> Gpt {
    let dials = Dials {
        sequence_len,
        vocab_size,
        head_dim: 6,
        n_embd: Some(24),
        ..Dials::default()
    };
    let options = CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    let device = Device::cpu(&options).unwrap();
    let gpt = Gpt::new(&device, &GptConfig::from_depth(Arch::V2026_07, 2, &dials)).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(7, param.name(), 0);
        let values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        param.upload(&values);
    }
    gpt
}

fn score(gpt: &Gpt, tokenizer: &Tokenizer, task: &CoreTask, batch_tokens: usize) -> CoreScore {
    score_core(gpt, tokenizer, task, CoreOptions { batch_tokens }, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

/// A text's negative log-likelihoods and greedy tokens, by one pass over all of it.
fn whole(gpt: &Gpt, ids: &[i32]) -> (Vec<f64>, Vec<usize>) {
    let graph = Graph::inference(gpt.device());
    let x = gpt.forward(&graph, &gpt.device().indices(ids, [1, ids.len()]));
    let logits = graph.logits(&x, &gpt.head()).download();
    let rows = logits.chunks(gpt.config().vocab_size).zip(&ids[1..]);
    rows.map(|(row, &next)| {
        let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let best = (0..row.len()).fold(0, |best, id| if row[id] > row[best] { id } else { best });
        (total.ln() - f64::from(row[next as usize]), best)
    })
    .unzip()
}

/// Sharing prefixes, filling up and batching change nothing: each text is as if it went through the model alone.
fn assert_as_whole_texts(gpt: &Gpt, tokenizer: &Tokenizer, task: &CoreTask) -> CoreScore {
    let scores = score(gpt, tokenizer, task, 300);
    let (spec, batches) = (task.spec(), [1, 1000, 1 << 20]);
    for batch_tokens in batches {
        let others = score(gpt, tokenizer, task, batch_tokens).items;
        // What has no scored token has no mean either, and NaN is not equal to itself.
        assert_eq!(format!("{others:?}"), format!("{:?}", scores.items), "{}", spec.label);
    }
    assert_eq!(scores.count, task.count());
    for item in &scores.items {
        let encode = |text: &String| {
            let ids = tokenizer.encode_ordinary(text);
            [tokenizer.bos()]
                .into_iter()
                .chain(ids)
                .map(|id| id as i32)
                .collect::<Vec<_>>()
        };
        let prompts = task.prompts(item.item);
        let texts: Vec<Vec<i32>> = prompts.iter().map(encode).collect();
        let shortest = texts.iter().map(Vec::len).min().unwrap();
        let same = |at: &dyn Fn(&Vec<i32>) -> i32| texts.iter().all(|text| at(text) == at(&texts[0]));
        let in_common = |at: &dyn Fn(&Vec<i32>, usize) -> i32| {
            let differs = (0..shortest).find(|&i| !same(&|text| at(text, i)));
            differs.unwrap_or(shortest)
        };
        let mut means = Vec::new();
        for text in &texts {
            let start = match spec.kind {
                CoreKind::Schema => match in_common(&|text, i| text[text.len() - 1 - i]) {
                    // All are one text: nothing is scored.
                    end if end == text.len() => end,
                    end => text.len() - end,
                },
                _ => in_common(&|text, i| text[i]),
            };
            let (nll, likeliest) = whole(gpt, text);
            let scored = &nll[start - 1..];
            means.push(scored.iter().sum::<f64>() / scored.len() as f64);
            if spec.kind == CoreKind::LanguageModeling && text.len() > start {
                let greedy = (start..text.len()).all(|i| likeliest[i - 1] == text[i] as usize);
                assert_eq!(item.right, greedy);
            }
        }
        if spec.kind == CoreKind::LanguageModeling {
            means.remove(0);
        }
        for (ours, expected) in item.nll.iter().zip(&means) {
            let equal = ours.is_nan() && expected.is_nan() || (ours - expected).abs() < 1e-5;
            assert!(equal, "{}: {ours} for {expected} in {prompts:?}", spec.label);
        }
        assert_eq!(item.nll.len(), means.len());
    }
    scores
}

#[test]
fn scores_are_those_of_whole_texts() {
    let tokenizer = tokenizer();
    let gpt = model(tokenizer.vocab_size(), 256);
    with_bundle(|bundle| {
        let mut right = 0;
        for spec in bundle.specs() {
            let task = bundle.load(spec, None).unwrap();
            let scores = assert_as_whole_texts(&gpt, &tokenizer, &task);
            assert_eq!(scores.cut_tokens, 0);
            let chosen = |item: &&ItemScore| item.right && item.chosen.is_some();
            right += scores.items.iter().filter(chosen).count();
            let share = scores.items.iter().filter(|item| item.right).count() as f64 / 9.0;
            assert!((scores.accuracy - share).abs() < 1e-12);
            assert!((scores.centered - (share - spec.chance) / (1.0 - spec.chance)).abs() < 1e-12);
        }
        assert!((1..18).contains(&right), "all alike shows nothing");
    });
}

/// Random items of odd parts: nothing, white space, the same twice, one the beginning or the end of another.
#[test]
fn odd_items_are_scored_as_whole_texts_or_refused() {
    const PARTS: [&str; 8] = [
        "",
        " ",
        "\n",
        "fell down.",
        "The cup",
        "The cup fell",
        "x",
        "\u{1f600}\u{0}",
    ];
    let tokenizer = tokenizer();
    let gpt = model(tokenizer.vocab_size(), 256);
    let folder = tempfile::tempdir().unwrap();
    let mut scored = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut below = |n: usize| (rng.uniform() * n as f64) as usize;
        write_bundle(folder.path());
        let kind = below(3);
        let config = format!(
            "icl_tasks:\n- label: odd\n  dataset_uri: odd.jsonl\n  num_fewshot: [{}]\n  icl_task_type: {}\n  continuation_delimiter: {:?}\n",
            below(2),
            ["multiple_choice", "schema", "language_modeling"][kind],
            ["", " ", "\nAnswer: "][below(3)]
        );
        fs::write(folder.path().join("core.yaml"), config).unwrap();
        fs::write(
            folder.path().join("eval_meta_data.csv"),
            "Eval Task,Random baseline\nodd,50\n",
        )
        .unwrap();
        let mut lines = String::new();
        for _ in 0..4 {
            let count = 1 + below(3);
            let gold = below(count);
            let mut part = || PARTS[below(PARTS.len())].to_owned();
            let (one, other) = (part(), part());
            let options: Vec<String> = (0..count).map(|_| part()).collect();
            let line = match kind {
                0 => serde_json::json!({"query": one, "choices": options, "gold": gold}),
                1 => serde_json::json!({"context_options": options, "continuation": one, "gold": gold}),
                _ => serde_json::json!({"context": one, "continuation": other}),
            };
            lines += &(line.to_string() + "\n");
        }
        fs::write(folder.path().join("eval_data/odd.jsonl"), lines).unwrap();
        let bundle = CoreBundle::open(folder.path()).unwrap();
        match bundle.load(&bundle.specs()[0], None) {
            Ok(task) => {
                assert_as_whole_texts(&gpt, &tokenizer, &task);
                scored += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("odd.jsonl") && error.contains("line ") && error.contains("is empty"),
                    "{error}"
                );
            }
        }
    }
    assert!(scored > 40, "{scored}");
}

/// Lines that lost or changed a character are read as something else or refused by their line, whatever they hold.
#[test]
fn broken_lines_are_refused_by_their_line() {
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path());
    let bundle = CoreBundle::open(folder.path()).unwrap();
    for (spec, seed) in bundle.specs().iter().zip(0..) {
        let path = folder.path().join("eval_data").join(&spec.data);
        let sound = fs::read(&path).unwrap();
        let mut rng = Rng::new(seed);
        for _ in 0..200 {
            let mut bytes = sound.clone();
            let at = (rng.uniform() * bytes.len() as f64) as usize;
            match rng.next_u64() % 3 {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                _ => bytes[at] = rng.next_u64() as u8,
            }
            fs::write(&path, bytes).unwrap();
            match bundle.load(spec, None) {
                Ok(task) => drop((0..task.count()).map(|item| task.prompts(item)).collect::<Vec<_>>()),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        error.contains("line ") || error.contains("needs 3 other items"),
                        "{error}"
                    );
                }
            }
        }
    }
}

/// A context shorter than the prompts is no obstacle: attention slides.
#[test]
fn prompts_may_be_longer_than_the_context() {
    let tokenizer = tokenizer();
    let gpt = model(tokenizer.vocab_size(), 8);
    with_bundle(|bundle| {
        let task = bundle.load(&bundle.specs()[2], None).unwrap();
        let scores = score(&gpt, &tokenizer, &task, 4096);
        assert!(scores.items.iter().all(|item| item.nll[0].is_finite()));
    });
}

#[test]
fn greedy_continuations_are_right() {
    let tokenizer = tokenizer();
    let gpt = model(tokenizer.vocab_size(), 256);
    let folder = tempfile::tempdir().unwrap();
    write_bundle(folder.path());
    fs::write(folder.path().join("core.yaml"), CONFIG.replace("[3]", "[0]")).unwrap();
    // What the model itself would say, where that survives being text.
    let mut lines = String::new();
    for i in 0..40 {
        let context = format!("Word {i}:");
        let encode = |text: &str| -> Vec<i32> {
            let ids = tokenizer.encode_ordinary(text);
            [tokenizer.bos()].into_iter().chain(ids).map(|id| id as i32).collect()
        };
        let mut ids = encode(&context);
        ids.push(0);
        let next = *whole(&gpt, &ids).1.last().unwrap();
        let said = tokenizer.decode(&[next as u32]);
        ids.pop();
        ids.push(next as i32);
        if let Some(word) = said
            .strip_prefix(' ')
            .filter(|word| encode(&format!("{context} {word}")) == ids)
        {
            lines += &(serde_json::json!({"context": context, "continuation": word}).to_string() + "\n");
        }
    }
    let count = lines.lines().count();
    assert!(count > 0, "the model says no word");
    fs::write(folder.path().join("eval_data/sums.jsonl"), lines).unwrap();
    let bundle = CoreBundle::open(folder.path()).unwrap();
    let task = bundle.load(&bundle.specs()[2], None).unwrap();
    assert_eq!(score(&gpt, &tokenizer, &task, 4096).accuracy, 1.0);
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let tokenizer = tokenizer();
    with_bundle(|bundle| {
        let task = bundle.load(&bundle.specs()[1], None).unwrap();
        let other = model(tokenizer.vocab_size() + 1, 64);
        let go_on = &mut |_: &CoreProgress| ControlFlow::Continue(());
        let error = score_core(&other, &tokenizer, &task, CoreOptions::default(), go_on).unwrap_err();
        assert!(matches!(error, TaskError::Chat(_)), "{error}");
        let gpt = model(tokenizer.vocab_size(), 64);
        let stop = &mut |_: &CoreProgress| ControlFlow::Break(());
        let error = score_core(&gpt, &tokenizer, &task, CoreOptions::default(), stop).unwrap_err();
        assert!(matches!(error, TaskError::Interrupted), "{error}");
    });
}
