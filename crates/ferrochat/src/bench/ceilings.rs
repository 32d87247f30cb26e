//! What the machine can do at best, looked at again beside every measurement.
//!
//! Other users of a machine come and go and some processors change their speed every few seconds, so a percentage is
//! that of a measurement and the look just before it; reported is the median of the percentages.

use ferrochat_tensor::{Device, Stream, Tensor};

use super::samples::Samples;

/// Least size of the memory that is read through.
const LEAST: usize = 256 << 20;
/// Times the last cache that it is at least.
const CACHES: usize = 4;

/// One look at the ceilings; none where the device cannot say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Operations per second of the multiply loop alone.
    pub flops: Option<f64>,
    /// Bytes per second of reading memory.
    pub bytes: Option<f64>,
}

/// Ceilings of a device.
pub struct Ceilings<'a> {
    device: &'a Device,
    memory: Option<Tensor>,
    /// All looks at the multiply loop.
    pub flops: Samples,
    /// All looks at the memory.
    pub bytes: Samples,
}

impl<'a> Ceilings<'a> {
    /// Nothing is measured yet, and no memory taken.
    pub fn new(device: &'a Device) -> Ceilings<'a> {
        Ceilings {
            device,
            memory: None,
            flops: Samples::default(),
            bytes: Samples::default(),
        }
    }

    /// The multiply loop, now.
    pub fn look_at_flops(&mut self) -> Option<f64> {
        let rate = self.device.probe_flops()?;
        self.flops.push(rate);
        Some(rate)
    }

    /// Reading memory, now; takes the memory at the first call.
    pub fn look_at_bytes(&mut self) -> Option<f64> {
        let device = self.device;
        let memory = self.memory.get_or_insert_with(|| {
            let bytes = LEAST.max(CACHES * last_cache().unwrap_or(0));
            let memory = device.master([bytes / device.master_dtype().bytes()]);
            memory.fill(1.0);
            memory
        });
        let rate = device.probe_stream(Stream::Read, memory)?;
        self.bytes.push(rate);
        Some(rate)
    }

    /// Both.
    pub fn look(&mut self) -> Look {
        Look {
            flops: self.look_at_flops(),
            bytes: self.look_at_bytes(),
        }
    }
}

impl Look {
    /// The least time for so much work, and what bounds it.
    pub fn least_seconds(self, flops: f64, bytes: f64) -> Option<(f64, Bound)> {
        let compute = (flops / self.flops?, Bound::Compute);
        let memory = (bytes / self.bytes?, Bound::Memory);
        Some(if compute.0 >= memory.0 { compute } else { memory })
    }
}

/// What keeps something from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The multiply loop.
    Compute,
    /// Reading memory.
    Memory,
}

impl Bound {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Memory => "memory",
        }
    }
}

/// Bytes of the cache that is farthest from the cores, where the system says.
fn last_cache() -> Option<usize> {
    let size = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok()?;
    size.trim()
        .strip_suffix('K')?
        .parse::<usize>()
        .ok()
        .map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_two_needs_decides() {
        let look = Look {
            flops: Some(100.0),
            bytes: Some(10.0),
        };
        assert_eq!(look.least_seconds(200.0, 10.0), Some((2.0, Bound::Compute)));
        assert_eq!(look.least_seconds(200.0, 50.0), Some((5.0, Bound::Memory)));
        assert_eq!(Look::default().least_seconds(1.0, 1.0), None);
    }

    #[test]
    fn a_cpu_shows_both_ceilings() {
        let device = Device::cpu(&ferrochat_tensor::CpuOptions::default()).unwrap();
        let mut ceilings = Ceilings::new(&device);
        let look = ceilings.look();
        assert!(look.flops.unwrap() > 0.0 && look.bytes.unwrap() > 0.0);
        assert_eq!((ceilings.flops.len(), ceilings.bytes.len()), (1, 1));
        // A device without loops to show says so.
        assert!(Ceilings::new(&Device::oracle()).look().flops.is_none());
    }
}
