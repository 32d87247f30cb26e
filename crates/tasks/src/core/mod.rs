//! CORE (Li et al. 2024, DataComp-LM): 22 tasks that a base model solves by continuing text. This room must never know
//! how conversations are rendered, or who shows the scores.
//!
//! | module | one job |
//! | --- | --- |
//! | `bundle`, `yaml`, `csv` | the folder of the tasks: which there are, and what guessing scores |
//! | `item` | one question, and how it is written with its examples |
//! | `spans` | which tokens of a prompt are scored |
//! | `batch` | what is computed together, and the passes over the model |
//! | `score` | from negative log-likelihoods to the metric, and the reference's layout |

mod batch;
mod bundle;
mod csv;
mod item;
mod score;
mod spans;
mod yaml;

pub use bundle::{CoreBundle, CoreSpec, CoreTask};
pub use item::CoreKind;
pub use score::{CoreOptions, CoreProgress, CoreResults, CoreScore, CoreWatch, ItemScore, score_core};
