//! What a model is told about itself, and `data identity`, which prints it as conversations. All of it
//! comes from the run's plan; nothing is claimed that the plan does not say.

use ferrochat_world::Identity;

use crate::plan::Plan;
use crate::settings::Settings;

/// The model of this run, as it should speak of itself.
pub fn of(settings: &Settings, plan: &Plan) -> Identity {
    let usual = Identity::default();
    let name = settings
        .name
        .clone()
        .unwrap_or_else(|| capitalised(settings.preset.as_deref().unwrap_or(&plan.run)));
    let limits = if settings.data.is_none() {
        usual.limits
    } else {
        vec!["I cannot look things up.".to_owned(), "I make mistakes.".to_owned()]
    };
    Identity {
        name,
        parameters: plan.parameters.total as u64,
        tokens: plan.tokens,
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
