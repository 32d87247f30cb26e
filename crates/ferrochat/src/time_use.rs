//! Where the time of an evaluation goes: `--profile`. Knows operations by name, never what is evaluated.

use std::time::Instant;

use ferrochat_tensor::{Device, OpUse};

use crate::format::{duration, flop_rate, thousands};
use crate::output;

/// The operations that multiply by weights. The loss multiplies by the head's too, attention by keys and values.
const PRODUCTS: [&str; 3] = ["linear", "logits", "matmul"];

/// A measurement of time that is going on.
pub struct TimeUse {
    device: Device,
    begun: Instant,
}

impl TimeUse {
    /// Begins; every operation is timed from here on.
    pub fn start(device: &Device) -> TimeUse {
        device.start_profile();
        TimeUse {
            device: device.clone(),
            begun: Instant::now(),
        }
    }

    /// Ends: a table of operations with their share of the time by the clock, and one line that sums it up.
    pub fn finish(self) -> String {
        let uses = self.device.take_profile();
        told(&uses, self.begun.elapsed().as_secs_f64())
    }
}

fn told(uses: &[OpUse], wall: f64) -> String {
    let percent = |seconds: f64| format!("{:.1}%", 100.0 * seconds / wall.max(f64::MIN_POSITIVE));
    let row = |used: &OpUse| {
        let rate = used.cost.flops / used.seconds.max(f64::MIN_POSITIVE);
        vec![
            used.name.to_owned(),
            thousands(used.calls),
            format!("{:.2}s", used.seconds),
            percent(used.seconds),
            if used.cost.flops > 0.0 {
                flop_rate(rate)
            } else {
                "-".to_owned()
            },
        ]
    };
    let rows: Vec<Vec<String>> = uses.iter().map(row).collect();
    let table = output::table(&["OPERATION", "CALLS", "TIME", "SHARE", "SPEED"], &rows);
    let of = |wanted: &dyn Fn(&str) -> bool| -> f64 {
        let chosen = uses.iter().filter(|used| wanted(used.name));
        // An empty sum of floats is -0.
        chosen.map(|used| used.seconds).fold(0.0, |sum, one| sum + one)
    };
    let (products, all) = (of(&|name| PRODUCTS.contains(&name)), of(&|_| true));
    let attention = of(&|name| name.starts_with("attention"));
    let loss = of(&|name| name.contains("nll"));
    format!(
        "{table}{}: {} in products with weights, {} in attention and {} in the loss with products of their own, {} in other \
         operations, {} outside of the device (tokens, files)\n",
        duration(wall),
        percent(products),
        percent(attention),
        percent(loss),
        percent(all - products - attention - loss),
        percent(wall - all)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrochat_tensor::Cost;

    #[test]
    fn shares_are_of_the_whole_time_and_every_operation_is_in_one() {
        let used = |name, seconds, flops| OpUse {
            name,
            calls: 2,
            seconds,
            cost: Cost {
                flops,
                ..Cost::default()
            },
        };
        let uses = [
            used("linear", 6.0, 12e9),
            used("attention_cached", 2.0, 0.0),
            used("rms_norm", 1.0, 0.0),
        ];
        let text = told(&uses, 10.0);
        assert!(text.contains("2.0 GFLOP/s") && text.contains("60.0%"), "{text}");
        assert!(
            text.ends_with(
                "10s: 60.0% in products with weights, 20.0% in attention and 0.0% in the loss with products of their own, \
                 10.0% in other operations, 10.0% outside of the device (tokens, files)\n"
            ),
            "{text}"
        );
    }
}
