//! What the device can do at best: plain copies and products, measured, and the maker's figures.

use anyhow::Result;
use ferrochat_tensor::{DType, Device};

use super::{PART, byte_rate, enough, seconds};
use crate::device::peak_flops;
use crate::format::flop_rate;
use crate::selftest::lines::{Line, Lines};
use crate::selftest::subject::Subject;

/// Rates of copies and products.
pub struct Ceilings {
    dtype: DType,
    /// Bytes read and written per second by a copy.
    pub bytes_per_second: f64,
    /// Operations per second of the largest product that was measured.
    pub flops_per_second: f64,
    /// Size of each product and its rate.
    products: Vec<(usize, f64)>,
}

/// A measurement above this part of the maker's figure shows that the figure is another card's.
const TOO_FAST: f64 = 1.15;

/// One below this part is worth a word: the card is shared, capped, hot, or not driven well.
const SLOW: f64 = 0.5;

impl Ceilings {
    /// Measures on a device.
    pub fn measure(device: &Device, subject: &Subject) -> Ceilings {
        let (copied, sizes): (usize, &[usize]) = match (subject.quick, subject.is_gpu()) {
            (true, _) => (1 << 22, &[256]),
            (false, false) => (1 << 28, &[1024, 2048]),
            (false, true) => (1 << 30, &[4096, 8192]),
        };
        let enough = enough(subject);
        let bytes_per_second = {
            let elements = copied / device.master_dtype().bytes();
            let (from, to) = (device.master([elements]), device.master([elements]));
            from.fill(1.0);
            2.0 * copied as f64 / seconds(device, enough, || to.copy_from(&from))
        };
        let product = |&size: &usize| {
            let values: Vec<f32> = (0..size * size)
                .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
                .collect();
            let (a, b) = (
                device.tensor(&values, [size, size]),
                device.tensor(&values, [size, size]),
            );
            // As a linear layer multiplies: the second operand transposed.
            let time = seconds(device, enough, || {
                drop(device.matmul((&a, false), (&b, true), 1.0, None));
            });
            (size, 2.0 * (size as f64).powi(3) / time)
        };
        let products: Vec<(usize, f64)> = sizes.iter().map(product).collect();
        device.trim();
        Ceilings {
            dtype: device.compute_dtype(),
            bytes_per_second,
            flops_per_second: products.iter().fold(0.0, |most, &(_, rate)| most.max(rate)),
            products,
        }
    }

    /// The least time for so much work.
    pub fn least_seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops_per_second).max(bytes / self.bytes_per_second)
    }

    /// Says what was measured, beside the maker's figures.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub fn tell(&self, device: &Device, lines: &mut Lines) -> Result<()> {
        let bandwidth = makers_bandwidth(device);
        let rate = self.bytes_per_second;
        lines.count(1);
        lines.push(
            &self
                .judge("copy", rate, bandwidth, &byte_rate)
                .with("bytes_per_second", rate),
        )?;
        for &(size, rate) in &self.products {
            let peak = peak_flops(device);
            lines.count(1);
            lines.push(
                &self
                    .judge(&format!("product {size}×{size}×{size}"), rate, peak, &flop_rate)
                    .with("flops_per_second", rate),
            )?;
        }
        Ok(())
    }

    fn judge(&self, name: &str, rate: f64, peak: Option<f64>, shown: &dyn Fn(f64) -> String) -> Line {
        let dtype = Some(self.dtype.name());
        let Some(peak) = peak else {
            return Line::measured(PART, name, dtype, shown(rate));
        };
        let part = rate / peak;
        let figures = format!("{}, {:.0}% of the maker's {}", shown(rate), 100.0 * part, shown(peak));
        let complaint = (part > TOO_FAST).then(|| format!("{figures}: the table of cards is wrong about this card"));
        let mut line = Line::judged(PART, name, dtype, complaint.as_slice());
        if line.detail.is_empty() {
            let slow = if part < SLOW {
                "; slow: is the card shared, capped or hot?"
            } else {
                ""
            };
            line.detail = figures + slow;
        }
        line
    }
}

/// Bytes per second of the card's memory by its maker, where the card is known.
#[cfg(target_os = "linux")]
fn makers_bandwidth(device: &Device) -> Option<f64> {
    ferrochat_tensor::cuda::cards::lookup(&device.name()).map(|card| card.bytes_per_second)
}

/// Cards are used on Linux only.
#[cfg(not(target_os = "linux"))]
fn makers_bandwidth(_device: &Device) -> Option<f64> {
    None
}
