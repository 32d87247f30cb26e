//! How learning rate, Muon's momentum and Muon's weight decay change over a run.

/// What holds at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Factor on every learning rate.
    pub lr_multiplier: f64,
    /// Muon's momentum.
    pub momentum: f64,
    /// Muon's weight decay.
    pub weight_decay: f64,
}

/// A run's plan for its steps: linear warm-up, constant, linear warm-down.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Steps of the run.
    pub steps: usize,
    /// Steps over which the rate rises to its full height.
    pub warmup_steps: usize,
    /// Share of the run over which the rate falls.
    pub warmdown_ratio: f64,
    /// Share of the rate that is left at the end.
    pub final_lr_frac: f64,
    /// Momentum at the first step, after its warm-up, and at the end of the rate's warm-down.
    pub momentum: [f64; 3],
    /// Steps over which the momentum rises; this goes before its fall.
    pub momentum_warmup_steps: usize,
    /// Weight decay at the first step; it follows half a cosine to 0.
    pub weight_decay: f64,
}

impl Schedule {
    /// Pretraining as of 2026-07.
    pub fn pretraining(steps: usize, weight_decay: f64) -> Schedule {
        Schedule {
            steps,
            warmup_steps: 40,
            warmdown_ratio: 0.65,
            final_lr_frac: 0.05,
            momentum: [0.85, 0.97, 0.90],
            momentum_warmup_steps: 400,
            weight_decay,
        }
    }

    /// The same for runs too short for its warm-ups: 2% of the run for the rate, a fifth for the momentum,
    /// where that is less.
    pub fn short_run(steps: usize, weight_decay: f64) -> Schedule {
        let full = Schedule::pretraining(steps, weight_decay);
        Schedule {
            warmup_steps: full.warmup_steps.min(steps.div_ceil(50)),
            momentum_warmup_steps: full.momentum_warmup_steps.min(steps.div_ceil(5)),
            ..full
        }
    }

    /// Rates, momentum and decay at `step` (from 0).
    pub fn at(&self, step: usize) -> Pace {
        Pace {
            lr_multiplier: self.lr_multiplier(step),
            momentum: self.momentum(step),
            weight_decay: self.weight_decay(step),
        }
    }

    /// Steps of the warm-down, rounded as Python does.
    fn warmdown_steps(&self) -> usize {
        (self.warmdown_ratio * self.steps as f64).round_ties_even() as usize
    }

    fn lr_multiplier(&self, step: usize) -> f64 {
        let warmdown = self.warmdown_steps();
        if step < self.warmup_steps {
            (step + 1) as f64 / self.warmup_steps as f64
        } else if step + warmdown <= self.steps {
            1.0
        } else {
            let progress = self.steps.saturating_sub(step) as f64 / warmdown as f64;
            progress + (1.0 - progress) * self.final_lr_frac
        }
    }

    fn momentum(&self, step: usize) -> f64 {
        let [first, full, last] = self.momentum;
        let warmdown = self.warmdown_steps();
        if step < self.momentum_warmup_steps {
            let share = step as f64 / self.momentum_warmup_steps as f64;
            (1.0 - share) * first + share * full
        } else if step + warmdown >= self.steps && warmdown > 0 {
            let progress = (step + warmdown - self.steps) as f64 / warmdown as f64;
            full * (1.0 - progress) + last * progress
        } else {
            full
        }
    }

    fn weight_decay(&self, step: usize) -> f64 {
        let progress = step as f64 / self.steps.max(1) as f64;
        self.weight_decay * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_linear_decay_is_a_warmdown_over_the_whole_run() {
        let schedule = Schedule {
            warmup_steps: 0,
            warmdown_ratio: 1.0,
            final_lr_frac: 0.0,
            ..Schedule::pretraining(10, 0.0)
        };
        for step in 0..10 {
            let expected = 1.0 - step as f64 / 10.0;
            assert!((schedule.at(step).lr_multiplier - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn short_runs_reach_full_rate_and_momentum() {
        for steps in [1, 2, 10, 100, 1000] {
            let schedule = Schedule::short_run(steps, 0.1);
            let paces: Vec<Pace> = (0..steps).map(|step| schedule.at(step)).collect();
            assert!(paces.iter().all(|p| p.lr_multiplier > 0.0 && p.lr_multiplier <= 1.0));
            let highest = paces.iter().map(|p| p.momentum).fold(0.0, f64::max);
            assert!(steps < 10 || highest > 0.94, "{steps}: {highest}");
        }
    }
}
