//! What a model is examined on after a stage.
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::settings::Settings;
use anyhow::Result;
use ferrochat_model::Gpt;
use ferrochat_tokenizer::Tokenizer;
use serde_json::Value;
/// Tasks and what they came to.
pub struct Exam;
impl Exam {
    pub fn of_run(_: &Settings, _: &Plan) -> Result<Exam> {
        Ok(Exam)
    }
    pub fn sit(&mut self, _: &Gpt, _: &Tokenizer, _: &Interrupt) -> Result<bool> {
        Ok(true)
    }
    pub fn findings(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}
