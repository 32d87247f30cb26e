//! What a model is told about itself, and `data identity`, which prints it as conversations. All of it
//! comes from the run's plan; nothing is claimed that the plan does not say.

use std::sync::Arc;

use anyhow::Result;
use ferrochat_world::{Identity, Kind, Mixture, Split, World, WorldSpec};

use crate::cli::IdentityArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::{device, output, runs, talks};

/// The model of this run, as it should speak of itself.
pub fn of(settings: &Settings, plan: &Plan) -> Identity {
    let usual = Identity::default();
    let name = settings
        .name
        .clone()
        .unwrap_or_else(|| capitalised(settings.preset.as_deref().unwrap_or(&plan.run)));
    let (read, limits) = if settings.data.is_none() {
        (usual.read, usual.limits)
    } else {
        let limits = ["I cannot look things up.", "I make mistakes."];
        ("of text".to_owned(), limits.map(str::to_owned).into())
    };
    Identity {
        name,
        parameters: plan.parameters.total as u64,
        tokens: plan.tokens,
        read,
        depth: plan.model.n_layer,
        persona: settings.persona.clone().unwrap_or(usual.persona),
        limits,
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `data identity`
///
/// # Errors
/// No such run, or stdout is closed.
pub fn command(home: &Home, args: &IdentityArgs) -> Result<()> {
    let name = args.run.clone().map_or_else(|| runs::newest(home), Ok)?;
    let run = runs::Run::load(home, &name)?;
    let Some(base) = run.stage("base") else {
        refuse!(
            "the run {name:?} has no base model whose plan could be told; ferrochat train base --run {name} makes one"
        );
    };
    let mut settings = base.settings.clone();
    settings.name = args.name.clone().or(settings.name);
    settings.persona = args.persona.clone().or(settings.persona);
    let tokenizer = crate::stages::tokenizer::load(&run.folder.tokenizer_file())?;
    let device = device::cpu()?;
    let plan = Plan::new(&name, &settings, tokenizer.vocab_size(), &device, None)?;
    let world = Arc::new(World::new(WorldSpec::default()).map_err(usage)?);
    let only = Mixture::only(Kind::Identity);
    let source = talks::of_world(
        &world,
        Split::Train,
        args.seed,
        &of(&settings, &plan),
        &only,
        args.count,
    );
    for number in 0..args.count {
        output::print(&format!("{}\n", source.get(number)?.to_json()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Flags;

    /// `data world` knows no run: what it asks of a model about itself must be true of spark.
    #[test]
    fn the_worlds_own_identity_is_that_of_spark() {
        let flags = Flags {
            preset: Some("spark".into()),
            ..Flags::default()
        };
        let settings = Settings::new(&flags).unwrap();
        let device = device::cpu().unwrap();
        let plan = Plan::new("any", &settings, settings.vocab_size(), &device, None).unwrap();
        assert_eq!(of(&settings, &plan), Identity::default());
    }

    #[test]
    fn names_begin_with_a_capital() {
        assert_eq!(capitalised("spark"), "Spark");
        assert_eq!(capitalised(""), "");
    }
}
