//! Checks of elements as such: conversions, filling, adding.

use super::compare::Allowance::Exact;
use super::procedure::{Procedures, within};
use crate::device::Device;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Where rounding to bf16 goes wrong, as bits.
const EDGES: [u32; 16] = [
    // Halfway: to the even number below, to the even number above.
    0x3f80_8000,
    0x3f81_8000,
    // Just above halfway and just below.
    0x3f80_8001,
    0x3f80_7fff,
    // Carries into the exponent.
    0x3fff_8000,
    0xbfff_c000,
    // Zeros, a small and the least normal number, two below it.
    0x0000_0000,
    0x8000_0000,
    0x01ff_8000,
    0x8080_0000,
    0x0000_8000,
    0x0001_8000,
    // The largest that does not round to infinity, two that do, an integer.
    0x7f7f_7fff,
    0x7f7f_ffff,
    0xff7f_8000,
    0x477f_0000,
];

impl Procedures {
    /// A length of random numbers that begins with [`EDGES`].
    fn edgy(&mut self, len: usize) -> Vec<f32> {
        let mut values = self.random.values(len, 3.0);
        values
            .iter_mut()
            .zip(EDGES)
            .for_each(|(value, edge)| *value = f32::from_bits(edge));
        values
    }

    /// Values go to the device and between its element types and come back rounded to the nearest, ties to even.
    pub fn conversions(&mut self, len: usize) {
        let values = self.edgy(len);
        let results = [
            ("upload to compute type", Exact),
            ("upload of float64 to compute type", Exact),
            ("upload to master type", Exact),
            ("master to compute type", Exact),
            ("compute to master type", Exact),
            ("compute to compute type", Exact),
            ("master to master type", Exact),
        ];
        self.push(
            "copy",
            format!("conversions of {len}"),
            &results,
            move |device, rounding| {
                let rounded = rounding.round(&values);
                // The reference has one type for both: what rounds elsewhere is rounded for it.
                let rounds_nothing = device.compute_dtype() == device.master_dtype();
                let rounding_happens_in = |tensor: Tensor| {
                    if rounds_nothing {
                        tensor.upload(&rounded);
                    }
                    tensor
                };
                let double: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
                let compute = rounding_happens_in(device.tensor(&values, [len]));
                let from_double = device.activation([len]);
                from_double.upload_f64(&double);
                let master = device.master_tensor(&values, [len]);
                let copy = |from: &Tensor, to: Tensor| {
                    to.copy_from(from);
                    to
                };
                let down = rounding_happens_in(copy(&master, device.activation([len])));
                let up = copy(&compute, device.master([len]));
                let across = copy(&compute, device.activation([len]));
                let again = copy(&master, device.master([len]));
                vec![
                    compute,
                    rounding_happens_in(from_double),
                    master,
                    down,
                    up,
                    across,
                    again,
                ]
            },
        );
    }

    /// Every element, and none behind the last: a tensor of one type is filled beside others.
    pub fn fill(&mut self, len: usize) {
        let results = [("compute type", Exact), ("master type", Exact), ("zero", Exact)];
        self.push("fill", format!("fill {len}"), &results, move |device, _| {
            let filled = |tensor: Tensor, value: f32| {
                tensor.fill(value);
                tensor
            };
            // A value that every element type holds.
            let compute = filled(device.activation([len]), -3.25);
            let master = filled(device.master([len]), 0.125);
            vec![compute, master, filled(device.activation([len]), 0.0)]
        });
    }

    /// What gradients that meet are added up with, in both element types.
    pub fn add_assign(&mut self, len: usize) {
        let [a, b] = [1.0, 0.7].map(|scale| self.random.values(len, scale));
        let results = [("compute type", within(1, 1)), ("master type", within(1, 0))];
        self.push(
            "add_assign",
            format!("add_assign {len}"),
            &results,
            move |device, rounding| {
                let tensor = |values: &[f32], dtype: DType| {
                    let tensor = device.empty([len], dtype);
                    tensor.upload(&rounding.round(values));
                    tensor
                };
                let sum = |device: &Device, dtype: DType| {
                    let (a, b) = (tensor(&a, dtype), tensor(&b, dtype));
                    device.launch("add_assign", |backend| backend.add_assign(a.buffer(), b.buffer()));
                    b
                };
                vec![sum(device, device.compute_dtype()), sum(device, device.master_dtype())]
            },
        );
    }
}
