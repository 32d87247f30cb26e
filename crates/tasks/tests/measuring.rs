//! Measuring tiny random models.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Mutex;

use ferrochat_chat::{Conversation, Engine, Message, Reply, ReplyOptions, render_for_completion};
use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Rng, Sampling};
use ferrochat_tasks::{
    FalseRefusals, Judging, Letters, MeasureOptions, Progress, Task, TaskError, TaskScore, measure, measure_each,
    measure_pass_at_k,
};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};
use ferrochat_tokenizer::{SPLIT_PATTERN, Tokenizer};

const CONTEXT: usize = 48;

fn tokenizer() -> Tokenizer {
    let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
    Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
}

fn model(device: &Device, vocab_size: usize) -> Gpt {
    let dials = Dials {
        sequence_len: CONTEXT,
        vocab_size,
        head_dim: 6,
        n_embd: Some(24),
        ..Dials::default()
    };
    let gpt = Gpt::new(device, &GptConfig::from_depth(Arch::V2026_07, 2, &dials)).unwrap();
    for declaration in gpt.declarations() {
        let param = &declaration.param;
        let mut rng = Rng::derive(7, param.name(), 0);
        let values: Vec<f32> = (0..param.numel()).map(|_| rng.uniform() as f32 - 0.5).collect();
        param.upload(&values);
    }
    gpt
}

fn cpu() -> Device {
    let options = CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    };
    Device::cpu(&options).unwrap()
}

type Grade = Box<dyn Fn(usize, &Reply) -> bool + Send + Sync>;

/// Questions of different lengths, judged as the test likes.
struct Asked {
    questions: Vec<String>,
    letters: Option<Vec<Letters>>,
    grade: Grade,
}

impl Asked {
    fn new(questions: Vec<String>, grade: impl Fn(usize, &Reply) -> bool + Send + Sync + 'static) -> Asked {
        Asked {
            questions,
            letters: None,
            grade: Box::new(grade),
        }
    }
}

impl Task for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }
    fn origin(&self) -> String {
        "here".to_owned()
    }
    fn count(&self) -> usize {
        self.questions.len()
    }
    fn chance(&self) -> f64 {
        0.25
    }
    fn judging(&self) -> Judging {
        match self.letters {
            Some(_) => Judging::Letters,
            None => Judging::Generative,
        }
    }
    fn answered(&self, index: usize) -> Conversation {
        Conversation::from(vec![Message::user(&self.questions[index]), Message::assistant("A")])
    }
    fn grade(&self, index: usize, reply: &Reply) -> Result<bool, TaskError> {
        Ok((self.grade)(index, reply))
    }
    fn letters(&self, index: usize) -> Option<Letters> {
        self.letters.as_ref().map(|letters| letters[index].clone())
    }
    fn falsely_refused(&self, reply: &Reply) -> Option<bool> {
        Some(first(reply).is_multiple_of(3))
    }
}

fn questions(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| format!("Why {i}{}", " or so".repeat(i * 7 % 5)))
        .collect()
}

/// The first token, or 0 where the model stopped at once.
fn first(reply: &Reply) -> usize {
    reply.ids.first().map_or(0, |&id| id as usize)
}

fn options(batch: usize, temperature: f32, samples: usize) -> MeasureOptions {
    MeasureOptions {
        max_new_tokens: 6,
        temperature,
        samples,
        batch,
        ..MeasureOptions::default()
    }
}

fn quietly(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The largest logit of all positions' logits, one prompt at a time.
fn chosen_alone(gpt: &Gpt, tokenizer: &Tokenizer, task: &Asked, index: usize, labels: &[String]) -> usize {
    let ids = render_for_completion(&task.prompt(index), tokenizer, CONTEXT - 1).unwrap();
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let graph = Graph::inference(gpt.device());
    let x = gpt.forward(&graph, &gpt.device().indices(&ids, [1, ids.len()]));
    let logits = graph.logits(&x, &gpt.head()).download();
    let last = &logits[(ids.len() - 1) * tokenizer.vocab_size()..];
    let logit = |label: &String| last[tokenizer.encode_ordinary(label)[0] as usize];
    let best = labels.iter().map(logit).fold(f32::MIN, f32::max);
    labels.iter().position(|label| logit(label) == best).unwrap()
}

#[test]
fn letters_are_chosen_by_the_logits_after_the_prompt() {
    let tokenizer = tokenizer();
    for device in [Device::oracle(), cpu()] {
        let gpt = model(&device, tokenizer.vocab_size());
        let mut task = Asked::new(questions(23), |_, _| unreachable!("nothing is written"));
        // One is longer than the context.
        task.questions[4] = "x1 ".repeat(60);
        let labels = |i: usize| -> Vec<String> {
            let all = if i.is_multiple_of(3) { "12345" } else { "ABCDE" };
            let turned = all.chars().cycle().skip(i % 5);
            turned.take(3 + i % 3).map(String::from).collect()
        };
        let right = |i| chosen_alone(&gpt, &tokenizer, &task, i, &labels(i));
        let right: Vec<usize> = (0..23).map(right).collect();
        assert!((0..5).filter(|choice| right.contains(choice)).count() > 2, "{right:?}");
        let letters = |wrong: usize| {
            let letter = |i: usize| {
                let labels = labels(i);
                let right = (right[i] + usize::from(i < wrong)) % labels.len();
                Letters { labels, right }
            };
            Some((0..23).map(letter).collect())
        };
        for (wrong, batch) in [(0, 1), (0, 5), (23, 5), (7, 64)] {
            task.letters = letters(wrong);
            let score = measure(&gpt, &tokenizer, &task, &options(batch, 0.0, 1), &mut quietly).unwrap();
            let p = (23 - wrong) as f64 / 23.0;
            assert!((score.score - p).abs() < 1e-12, "{} for {p}", score.score);
            assert!((score.standard_error - (p * (1.0 - p) / 22.0).sqrt()).abs() < 1e-12);
            assert_eq!((score.count, score.cut, score.chance), (23, 1, 0.25));
            assert_eq!(score.false_refusals, None);
        }
        let few = MeasureOptions {
            max_problems: Some(7),
            ..options(3, 0.0, 1)
        };
        let score = measure(&gpt, &tokenizer, &task, &few, &mut quietly).unwrap();
        assert_eq!(
            (score.count, score.score),
            (7, 0.0),
            "the first seven, which are the wrong ones"
        );
    }
}

#[test]
fn written_answers_are_those_of_the_engine() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let engine = Engine::new(&gpt, &tokenizer).unwrap();
    let asked = Asked::new(questions(200), |_, _| false);
    let greedy = ReplyOptions {
        max_tokens: 6,
        sampling: Sampling::greedy(),
        ..ReplyOptions::default()
    };
    let alone = |index: usize| {
        let prompt = render_for_completion(&asked.prompt(index), &tokenizer, CONTEXT).unwrap();
        engine.reply(&prompt, &greedy).unwrap().remove(0)
    };
    let expected: Vec<Reply> = (0..200).map(alone).collect();
    assert!(expected.iter().any(|reply| first(reply) != first(&expected[0])));
    let refused = expected.iter().filter(|reply| first(reply).is_multiple_of(3)).count();
    assert!(refused > 0 && refused < 200, "{refused}");
    let task = Asked::new(questions(200), move |index, reply| {
        index >= 50 && reply == &expected[index]
    });
    let mut seen = Vec::new();
    let mut watch = |progress: &Progress| {
        seen.push((progress.done, progress.count));
        quietly(progress)
    };
    let score = measure(&gpt, &tokenizer, &task, &options(16, 0.0, 1), &mut watch).unwrap();
    assert_eq!((score.score, score.count, score.cut), (0.75, 200, 0));
    assert_eq!((seen[0], seen[seen.len() - 1]), ((0, 200), (200, 200)));
    assert!(seen.len() > 10 && seen.is_sorted(), "{seen:?}");
    let refusals = FalseRefusals { refused, replies: 200 };
    assert_eq!(score.false_refusals, Some(refusals));
    let share = FalseRefusals::share(&[score.clone(), score.clone()]).unwrap();
    assert!((share.value - refused as f64 / 200.0).abs() < 1e-12);
    let other = TaskScore {
        false_refusals: None,
        ..score
    };
    assert_eq!(FalseRefusals::share(&[other]), None);
}

#[test]
fn pass_at_k_begins_with_the_mean_and_grows() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let task = Asked::new(questions(50), |index, reply| first(reply) % 4 == index % 4);
    let eight = |batch| measure_pass_at_k(&gpt, &tokenizer, &task, &options(batch, 1.0, 8), &mut quietly).unwrap();
    let passed = eight(16);
    assert_eq!((passed.count, passed.samples, passed.pass.len()), (50, 8, 8));
    let score = measure(&gpt, &tokenizer, &task, &options(16, 1.0, 8), &mut quietly).unwrap();
    assert!((passed.pass[0].value - score.score).abs() < 1e-12);
    assert!((passed.pass[0].standard_error - score.standard_error).abs() < 1e-12);
    assert!(score.score > 0.05 && score.score < 0.6, "{}", score.score);
    assert!(
        passed.pass.windows(2).all(|two| two[0].value < two[1].value),
        "{passed:?}"
    );
    assert_eq!(eight(5).pass, passed.pass, "the batch changes nothing");
}

#[test]
fn every_item_is_told_once_with_what_was_said() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let here = std::thread::current().id();
    let mut task = Asked::new(questions(40), move |index, reply| {
        assert_ne!(std::thread::current().id(), here, "the model does not wait for judges");
        (first(reply) + index).is_multiple_of(2)
    });
    let tell = |task: &Asked, samples| {
        let mut told = vec![None; 40];
        let score = measure_each(
            &gpt,
            &tokenizer,
            task,
            &options(7, 1.0, samples),
            &mut quietly,
            &mut |item| {
                let index = item.index;
                assert!(told[index].replace(item).is_none(), "{index} is told twice");
            },
        );
        let told: Vec<_> = told.into_iter().map(Option::unwrap).collect();
        (score.unwrap(), told)
    };
    let (score, told) = tell(&task, 3);
    let right = told.iter().flat_map(|item| &item.right).filter(|&&right| right).count();
    assert!((score.score - right as f64 / 120.0).abs() < 1e-12);
    assert_eq!((score.samples, score.pass_at_k.len()), (3, 3));
    assert!(told.iter().all(|item| item.said.len() == 3 && item.right.len() == 3));
    assert_eq!(
        tell(&task, 3).1.iter().map(|item| &item.said).collect::<Vec<_>>(),
        told.iter().map(|item| &item.said).collect::<Vec<_>>()
    );
    let letters = Letters {
        labels: vec!["A".to_owned(), "B".to_owned()],
        right: 1,
    };
    task.letters = Some(vec![letters; 40]);
    let (score, told) = tell(&task, 1);
    assert!(told.iter().all(|item| item.right[0] == (item.said[0] == "B")));
    assert_eq!(score.pass_at_k, []);
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    struct Broken(Asked);
    impl Task for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn origin(&self) -> String {
            self.0.origin()
        }
        fn count(&self) -> usize {
            self.0.count()
        }
        fn chance(&self) -> f64 {
            0.0
        }
        fn judging(&self) -> Judging {
            Judging::Generative
        }
        fn answered(&self, index: usize) -> Conversation {
            self.0.answered(index)
        }
        fn grade(&self, index: usize, _reply: &Reply) -> Result<bool, TaskError> {
            match index {
                11 => Err(TaskError::Request("eleven cannot be judged".to_owned())),
                _ => Ok(true),
            }
        }
    }
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let task = Broken(Asked::new(questions(60), |_, _| true));
    let error = measure(&gpt, &tokenizer, &task, &options(4, 0.0, 1), &mut quietly).unwrap_err();
    assert_eq!(error.to_string(), "eleven cannot be judged");
}

#[test]
fn no_item_repeats_the_draws_of_another() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let drawn = std::sync::Arc::new(Mutex::new(vec![Vec::new(); 256]));
    let keep = std::sync::Arc::clone(&drawn);
    let task = Asked::new(vec!["Why".to_owned(); 256], move |index, reply| {
        keep.lock().unwrap()[index].clone_from(&reply.ids);
        true
    });
    let draw = || {
        measure(&gpt, &tokenizer, &task, &options(16, 1.0, 1), &mut quietly).unwrap();
        drawn.lock().unwrap().clone()
    };
    let first = draw();
    let different: HashSet<&Vec<u32>> = first.iter().collect();
    assert!(different.len() > 240, "{}", different.len());
    assert_eq!(first, draw(), "the seed decides");
}

#[test]
fn what_cannot_be_measured_is_refused_and_what_is_stopped_stops() {
    let (tokenizer, device) = (tokenizer(), cpu());
    let gpt = model(&device, tokenizer.vocab_size());
    let mut task = Asked::new(questions(200), |_, _| true);
    let mut stop = |progress: &Progress| {
        if progress.done >= 128 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let stopped = measure(&gpt, &tokenizer, &task, &options(16, 0.0, 1), &mut stop);
    assert!(matches!(stopped, Err(TaskError::Interrupted)), "{stopped:?}");
    let refusal = |task: &Asked, options| {
        let result = measure(&gpt, &tokenizer, task, &options, &mut quietly);
        result.unwrap_err().to_string()
    };
    assert!(refusal(&task, options(0, 0.0, 1)).contains("batches of 0"));
    assert!(refusal(&task, options(1, 0.0, 0)).contains("samples"));
    assert!(refusal(&task, options(1, -1.0, 1)).contains("temperature"));
    let none = MeasureOptions {
        max_problems: Some(0),
        ..options(1, 0.0, 1)
    };
    assert!(refusal(&task, none).contains("no problems"));
    task.letters = Some(vec![
        Letters {
            labels: vec!["A".to_owned(), "one two".to_owned()],
            right: 0
        };
        200
    ]);
    assert!(refusal(&task, options(1, 0.0, 1)).contains("\"one two\" is "));
    let passed = measure_pass_at_k(&gpt, &tokenizer, &task, &options(1, 1.0, 8), &mut quietly);
    assert!(passed.unwrap_err().to_string().contains("letter"));
    let other = model(&device, tokenizer.vocab_size() + 1);
    let error = measure(&other, &tokenizer, &task, &options(1, 0.0, 1), &mut quietly).unwrap_err();
    assert!(error.to_string().contains("vocabulary"), "{error}");
}
