//! The peak that a stage's speed is put beside: the device's own multiply loop, looked at again now and then, since a busy
//! neighbour may be in the way of any look. Must never know a model.

use std::time::{Duration, Instant};

use ferrochat_tensor::Device;

use crate::device::{self, Peak};
use crate::record::StageRecord;

/// Time between two looks, of a few milliseconds each.
const LOOK_AFTER: Duration = Duration::from_secs(20);
/// Where a record keeps the greatest rate that was seen, and the name of the device that did it.
const RATE: &str = "peak_flops_per_second";
const DEVICE: &str = "peak_device";

/// The greatest peak seen so far.
pub struct Watched {
    /// None where nobody knows it.
    pub peak: Option<Peak>,
    looked: Instant,
}

impl Watched {
    /// What is seen now, or was by the same device in an earlier start of the stage.
    pub fn new(device: &Device, record: &mut StageRecord) -> Watched {
        let mut peak = device::peak(device);
        let remembered = record.details[DEVICE] == device.name();
        match &mut peak {
            Some(Peak::Measured(flops)) => {
                let before = record.number(&format!("/{RATE}")).filter(|_| remembered);
                *flops = flops.max(before.unwrap_or(0.0));
                remember(*flops, device, record);
            }
            Some(Peak::Promised(_)) | None => {
                let details = record.details.as_object_mut().expect("details are an object");
                details.remove(RATE);
                details.remove(DEVICE);
            }
        }
        Watched {
            peak,
            looked: Instant::now(),
        }
    }

    /// Looks again if it is time. Touches no tensor: it changes no bit of what is trained.
    pub fn look_again(&mut self, device: &Device, record: &mut StageRecord) {
        if self.looked.elapsed() < LOOK_AFTER {
            return;
        }
        self.looked = Instant::now();
        if let (Some(Peak::Measured(flops)), Some(seen)) = (&mut self.peak, device.probe_flops())
            && seen > *flops
        {
            *flops = seen;
            remember(seen, device, record);
        }
    }
}

fn remember(flops: f64, device: &Device, record: &mut StageRecord) {
    record.details[RATE] = flops.round().into();
    record.details[DEVICE] = device.name().into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Settings;

    fn measured(watched: &Watched) -> f64 {
        match watched.peak {
            Some(Peak::Measured(flops)) => flops,
            other => panic!("the CPU's peak is measured: {other:?}"),
        }
    }

    #[test]
    fn the_greatest_look_of_the_same_device_stays() {
        let device = device::cpu().unwrap();
        let record = |details| StageRecord::begin("base", &Settings::default(), details);
        let much = 1e18;
        let mut same = record(json!({RATE: much, DEVICE: device.name()}));
        assert!(measured(&Watched::new(&device, &mut same)) >= much);
        let mut another = record(json!({RATE: much, DEVICE: "cpu of another kind"}));
        let seen = measured(&Watched::new(&device, &mut another));
        assert!(seen < much);
        assert_eq!(another.number(&format!("/{RATE}")), Some(seen.round()));
        assert_eq!(another.details[DEVICE], device.name());
    }

    #[test]
    fn a_neighbour_at_the_start_is_forgotten() {
        let device = device::cpu().unwrap();
        let mut record = StageRecord::begin("base", &Settings::default(), json!({}));
        let mut watched = Watched {
            peak: Some(Peak::Measured(1.0)),
            looked: Instant::now(),
        };
        watched.look_again(&device, &mut record);
        assert!((measured(&watched) - 1.0).abs() < 1e-9, "too early");
        let Some(before) = Instant::now().checked_sub(LOOK_AFTER) else {
            return;
        };
        watched.looked = before;
        watched.look_again(&device, &mut record);
        assert!(measured(&watched) > 1e6);
        assert_eq!(record.number(&format!("/{RATE}")), Some(measured(&watched).round()));
    }
}
