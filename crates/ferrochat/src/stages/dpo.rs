//! Learning from preferences: the model learns which of two replies is better, a recipe to be read from
//! top to bottom.
//!
//! How likely the model of the stage before finds the replies is computed once, at the start. Each step then asks the
//! same of the model as it is, and moves it where the two differ too little in the right direction.

mod preferences;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ferrochat_data::{PreferencePair, open_pairs};
use ferrochat_model::Gpt;
use ferrochat_tasks::Estimate;
use ferrochat_tokenizer::Tokenizer;
use ferrochat_world::{Identity, Split, World};
use serde::Serialize;
use serde_json::{Value, json};

use super::after::{fading, part_of_rates, refuse_other_data, trim};
use crate::cli::DpoArgs;
use crate::dpo_settings::DpoSettings;
use crate::errors::{Interrupted, refuse, usage};
use crate::exam::{Exam, WORLD_SEED};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::metrics::Line;
use crate::training::{Chain, Learned, Lesson, Moment, Order, Padded, Passes, is_due};
use crate::{format, identity, output, presets, record, source};
use preferences::{LogProbabilities, Preference, log_probabilities, loss, margin};

/// The stages that DPO begins from, where no flag says which.
pub const SOURCES: [&str; 2] = ["mid", "sft"];
/// Pairs between two looks at the interrupt.
const AT_ONCE: usize = 128;

/// What the stage will be.
#[derive(Clone, Debug, Serialize)]
pub struct DpoPlan {
    /// Name of the run.
    pub run: String,
    /// The stage whose model is the beginning.
    pub source: &'static str,
    /// Where the pairs come from.
    pub origin: String,
    /// Pairs to learn from.
    pub pairs: usize,
    /// Pairs to measure on.
    pub eval_examples: usize,
    /// Pairs left out: both replies the same, or nothing of one within the context.
    pub left_out: usize,
    /// The same for the same pairs.
    pub fingerprint: String,
    /// Pairs per optimizer step.
    pub examples_per_step: usize,
    /// Replies per forward and backward pass.
    pub device_batch_size: usize,
    /// How closely the model keeps to the one it begins from.
    pub beta: f64,
    /// Optimizer steps.
    pub steps: usize,
}

/// `train dpo`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &DpoArgs) -> Result<()> {
    let chain = Chain::open(home, "dpo", &SOURCES, &args.stage)?;
    let run = chain.run.clone();
    let interrupt = Interrupt::listen()?;
    let go_on = format::shell_line(["ferrochat", "train", "dpo", "--run", &run.name, "--resume"]);
    let _lock = (!args.plan.dry_run).then(|| record::lock(&run)).transpose()?;
    train(chain, args, &interrupt, &go_on)
}

/// The stage. The caller holds the run's lock and says which command line goes on after an interrupt.
///
/// # Errors
/// Pairs or a checkpoint that cannot be used, files that cannot be written, or an interrupt.
pub fn train(chain: Chain, args: &DpoArgs, interrupt: &Interrupt, go_on: &str) -> Result<()> {
    let settings = match chain.saved()? {
        Some(saved) => DpoSettings::resumed(&saved, &args.flags, &chain.run.name)?,
        None => DpoSettings::new(&presets::preferring(&chain.settings), &args.flags)?,
    };
    let pairs = Pairs::open(&chain, &settings)?;
    let mut order = order(&settings, &pairs)?;
    let plan = plan(&chain, &settings, &pairs, &order);
    if args.plan.dry_run {
        return print_plan(&plan, args.plan.json);
    }
    refuse_other_data(&chain, &plan.fingerprint, "pairs")?;

    let loaded = chain.load(
        &part_of_rates(&chain, settings.init_lr_frac),
        false,
        settings.save_every,
    )?;
    let step = loaded.resumed.as_ref().map_or(0, |resumed| resumed.step);
    eprintln!(
        "dpo: learning from {} pairs ({}), {} per step, {} held out",
        format::thousands(plan.pairs as u64),
        plan.origin,
        plan.examples_per_step,
        format::thousands(plan.eval_examples as u64)
    );
    let needed: Vec<usize> = (step..plan.steps).flat_map(|step| order.at(step).to_vec()).collect();
    // The same numbers as at the first start: they come from the same weights.
    let source = chain.source_model()?;
    let rows = plan.device_batch_size;
    let Some(before) = Before::of(&source, &pairs, &needed, rows, interrupt) else {
        let signal = interrupt.requested().expect("only an interrupt ends it");
        let message = format!("interrupted before the first step of dpo; go on with: {go_on}");
        return Err(anyhow::Error::new(Interrupted { signal, message }));
    };
    drop(source);

    let mut lesson = Preferring {
        tokenizer: Arc::clone(&chain.tokenizer),
        exam: Exam::as_before(&chain)?,
        padded: Padded::default(),
        last: None,
        rows,
        settings,
        pairs,
        order,
        before,
    };
    let schedule = fading(plan.steps);
    let training = chain.start(loaded, schedule, &lesson.settings, &plan, args.plan.price_per_hour)?;
    training.run(&mut lesson, interrupt, go_on)
}

/// Pairs to learn from and to measure on, in ids.
struct Pairs {
    train: Vec<Preference>,
    held_out: Vec<Preference>,
    left_out: usize,
    origin: String,
    fingerprint: String,
}

impl Pairs {
    /// Those that the settings name, else those of the world.
    fn open(chain: &Chain, settings: &DpoSettings) -> Result<Pairs> {
        let mut pairs = Pairs {
            train: Vec::new(),
            held_out: Vec::new(),
            left_out: 0,
            origin: String::new(),
            fingerprint: String::new(),
        };
        let (train, held_out) = match &settings.pairs {
            Some(path) => pairs.of_files(path, settings)?,
            None => pairs.of_world(chain, settings)?,
        };
        let context = chain.plan.model.sequence_len;
        for (from, to) in [(train, &mut pairs.train), (held_out, &mut pairs.held_out)] {
            for pair in &from {
                match Preference::of(pair, &chain.tokenizer, context)? {
                    Some(preference) => to.push(preference),
                    None => pairs.left_out += 1,
                }
            }
        }
        pairs.held_out.truncate(settings.eval_examples);
        if pairs.train.is_empty() || pairs.held_out.is_empty() {
            refuse!(
                "no pairs are left of {} to learn from and to measure on: {} were left out, both replies the same or beyond the context of {context} tokens",
                pairs.origin,
                pairs.left_out
            );
        }
        Ok(pairs)
    }

    fn of_files(&mut self, path: &Path, settings: &DpoSettings) -> Result<(Vec<PreferencePair>, Vec<PreferencePair>)> {
        let file = open_pairs(path).map_err(usage)?;
        self.left_out += file.equal;
        self.origin = path.display().to_string();
        self.fingerprint = file.fingerprint;
        let mut train = file.pairs;
        if let Some(path) = &settings.val_pairs {
            let held_out = open_pairs(path).map_err(usage)?;
            self.left_out += held_out.equal;
            return Ok((train, held_out.pairs));
        }
        if train.len() < 2 {
            refuse!(
                "{} has only one pair; at least two are needed, to learn from one and to measure on the other",
                path.display()
            );
        }
        let held_out = train.split_off(train.len() - (train.len() / 20).max(1));
        Ok((train, held_out))
    }

    fn of_world(
        &mut self,
        chain: &Chain,
        settings: &DpoSettings,
    ) -> Result<(Vec<PreferencePair>, Vec<PreferencePair>)> {
        if let Some(data) = &chain.settings.data {
            refuse!(
                "dpo needs pairs: give --pairs FILE; the base model read {}, which has none",
                data.display()
            );
        }
        let world = source::world(&chain.settings)?;
        let identity = identity::of(&chain.settings, &chain.plan);
        self.origin = format!("world {}", chain.settings.world);
        self.fingerprint = format!("{} {} {identity:?}", self.origin, chain.settings.world_size);
        let drawn = |split, seed, count| draw(&world, split, seed, &identity, count);
        Ok((
            drawn(Split::Train, settings.seed, settings.num_pairs),
            drawn(Split::Heldout, WORLD_SEED, settings.eval_examples),
        ))
    }
}

fn draw(world: &World, split: Split, seed: u64, identity: &Identity, count: usize) -> Vec<PreferencePair> {
    let pairs = world.pairs(split, seed, identity).take(count);
    pairs
        .map(|pair| PreferencePair::of_texts(pair.prompt, pair.chosen, pair.rejected))
        .collect()
}

fn order(settings: &DpoSettings, pairs: &Pairs) -> Result<Order> {
    let count = pairs.train.len();
    if settings.examples_per_step > count {
        refuse!(
            "--examples-per-step {} is more than the {count} pairs there are; give {count} or less",
            settings.examples_per_step
        );
    }
    Ok(Order::new(settings.seed, count, settings.examples_per_step))
}

fn plan(chain: &Chain, settings: &DpoSettings, pairs: &Pairs, order: &Order) -> DpoPlan {
    DpoPlan {
        run: chain.run.name.clone(),
        source: chain.source,
        origin: pairs.origin.clone(),
        pairs: pairs.train.len(),
        eval_examples: pairs.held_out.len(),
        left_out: pairs.left_out,
        fingerprint: pairs.fingerprint.clone(),
        examples_per_step: settings.examples_per_step,
        device_batch_size: settings.device_batch_size.unwrap_or(chain.settings.device_batch_size),
        beta: settings.beta,
        steps: usize::try_from(settings.num_iterations).unwrap_or(order.steps_per_epoch() * settings.epochs),
    }
}

fn print_plan(plan: &DpoPlan, as_json: bool) -> Result<()> {
    if as_json {
        return output::print_json(plan);
    }
    output::print(&format!(
        "run             {}\nstage           dpo, from {}\npairs           {} ({}), {} left out, {} held out\nbatch           {} pairs, {} replies per pass\nbeta            {}\nsteps           {}\n",
        plan.run,
        plan.source,
        format::thousands(plan.pairs as u64),
        plan.origin,
        plan.left_out,
        format::thousands(plan.eval_examples as u64),
        plan.examples_per_step,
        plan.device_batch_size,
        plan.beta,
        format::thousands(plan.steps as u64),
    ))
}

/// How likely the model of the stage before finds the replies.
struct Before {
    /// Of the pairs that are still to be learned from; the others are not asked for.
    train: Vec<LogProbabilities>,
    held_out: Vec<LogProbabilities>,
}

impl Before {
    /// None if an interrupt came first.
    fn of(source: &Gpt, pairs: &Pairs, needed: &[usize], rows: usize, interrupt: &Interrupt) -> Option<Before> {
        let mut needed = needed.to_vec();
        needed.sort_unstable();
        needed.dedup();
        let wanted: Vec<&Preference> = needed.iter().map(|&at| &pairs.train[at]).collect();
        let held_out: Vec<&Preference> = pairs.held_out.iter().collect();
        let mut before = Before {
            train: vec![[f64::NAN; 2]; pairs.train.len()],
            held_out: look(source, &held_out, rows, interrupt)?,
        };
        for (&at, found) in needed.iter().zip(look(source, &wanted, rows, interrupt)?) {
            before.train[at] = found;
        }
        Some(before)
    }
}

/// How likely a model finds many pairs; none if an interrupt came first.
fn look(gpt: &Gpt, pairs: &[&Preference], rows: usize, interrupt: &Interrupt) -> Option<Vec<LogProbabilities>> {
    let (mut passes, mut padded) = (Passes::new(gpt), Padded::default());
    let mut found = Vec::with_capacity(pairs.len());
    for some in pairs.chunks(AT_ONCE) {
        if interrupt.requested().is_some() {
            return None;
        }
        found.extend(log_probabilities(gpt, &mut passes, &mut padded, some, rows));
    }
    Some(found)
}

/// What held-out pairs came to: a pair is won where its chosen reply is the likelier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Wins {
    pairs: usize,
    /// Of the model that it began from.
    before: Estimate,
    /// Now.
    after: Estimate,
    /// How much more, with the error of the difference pair by pair.
    gain: Estimate,
    /// Share of pairs whose margin is positive: the model prefers the chosen reply more than at the beginning.
    accuracy: Estimate,
}

impl Wins {
    fn of(before: &[LogProbabilities], now: &[LogProbabilities]) -> Wins {
        let won = |[chosen, rejected]: &LogProbabilities| f64::from(u8::from(chosen > rejected));
        let all = |pairs: &[LogProbabilities]| pairs.iter().map(won).collect::<Vec<f64>>();
        let both = || before.iter().zip(now);
        let gains: Vec<f64> = both().map(|(before, now)| won(now) - won(before)).collect();
        let moved: Vec<f64> = both()
            .map(|(&before, &now)| f64::from(u8::from(margin(1.0, now, before) > 0.0)))
            .collect();
        Wins {
            pairs: now.len(),
            before: Estimate::of(&all(before)),
            after: Estimate::of(&all(now)),
            gain: Estimate::of(&gains),
            accuracy: Estimate::of(&moved),
        }
    }
}

/// Learning from pairs.
struct Preferring {
    settings: DpoSettings,
    tokenizer: Arc<Tokenizer>,
    pairs: Pairs,
    before: Before,
    order: Order,
    rows: usize,
    padded: Padded,
    last: Option<Wins>,
    exam: Exam,
}

impl Lesson for Preferring {
    fn learn(&mut self, gpt: &Gpt, step: usize, passes: &mut Passes, line: &mut Line) -> Result<Learned> {
        let chosen = self.order.at(step);
        let pairs: Vec<&Preference> = chosen.iter().map(|&at| &self.pairs.train[at]).collect();
        let before: Vec<LogProbabilities> = chosen.iter().map(|&at| self.before.train[at]).collect();
        let beta = self.settings.beta;
        let margins = preferences::learn(gpt, passes, &mut self.padded, &pairs, &before, beta, self.rows);
        let mean = |value: &dyn Fn(f64) -> f64| margins.iter().map(|&m| value(m)).sum::<f64>() / margins.len() as f64;
        line.margin = Some(mean(&|margin| margin));
        line.accuracy = Some(mean(&|margin| f64::from(u8::from(margin > 0.0))));
        trim(gpt);
        Ok(Learned {
            loss: mean(&loss),
            tokens: pairs
                .iter()
                .map(|pair| pair.chosen.ids.len() + pair.rejected.ids.len())
                .sum(),
        })
    }

    fn measure(&mut self, at: &Moment, line: &mut Line) -> Result<bool> {
        if !is_due(self.settings.eval_every, at.step) && !at.last {
            return Ok(true);
        }
        let held_out: Vec<&Preference> = self.pairs.held_out.iter().collect();
        let Some(now) = look(at.gpt, &held_out, self.rows, at.interrupt) else {
            return Ok(false);
        };
        let wins = Wins::of(&self.before.held_out, &now);
        (line.val_wins, line.val_accuracy) = (Some(wins.after.value), Some(wins.accuracy.value));
        at.progress.line(&format!(
            "step {}: {:.1}% ± {:.1} of {} held-out pairs won, {:.1}% before",
            at.step,
            100.0 * wins.after.value,
            100.0 * wins.after.standard_error,
            wins.pairs,
            100.0 * wins.before.value
        ));
        self.last = Some(wins);
        Ok(true)
    }

    fn examine(&mut self, gpt: &Gpt, interrupt: &Interrupt) -> Result<bool> {
        self.exam.sit(gpt, &self.tokenizer, interrupt)
    }

    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn findings(&self) -> Vec<(&'static str, Value)> {
        let mut findings = self.exam.findings();
        findings.extend(self.last.as_ref().map(|wins| ("wins", json!(wins))));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wins_are_counted_pair_by_pair() {
        let before = [[-1.0, -2.0], [-2.0, -1.0], [-3.0, -1.0], [-5.0, -4.0]];
        let now = [[-2.0, -2.5], [-1.0, -1.5], [-3.0, -1.0], [-4.5, -4.0]];
        let wins = Wins::of(&before, &now);
        assert_eq!((wins.pairs, wins.before.value, wins.after.value), (4, 0.25, 0.5));
        assert_eq!((wins.gain.value, wins.accuracy.value), (0.25, 0.5));
        assert!((wins.gain.standard_error - 0.25).abs() < 1e-12);
    }
}
