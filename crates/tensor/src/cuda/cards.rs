//! What common cards can do by their makers' figures, for MFU and for judging measurements. Knows names and numbers only.
//!
//! Rates are *dense* (vendors like to print the doubled figure of 2:4 sparsity), bf16 on tensor cores with sums in f32
//! (GeForce cards do half their headline rate then), f32 on ordinary cores. They hold at the boost clock of the data
//! sheet: a cool consumer card may run several per cent above it, and none holds it under a long load of matrices.

/// A card's ceilings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// The words of the driver's name that tell it apart.
    pub name: &'static str,
    /// Dense bf16 tensor-core operations per second, sums in f32; none below compute capability 8.0.
    pub bf16_flops: Option<f64>,
    /// f32 operations per second, without tensor cores.
    pub f32_flops: f64,
    /// Bytes per second to and from the card's memory.
    pub bytes_per_second: f64,
    /// Where the figures come from.
    pub source: &'static str,
}

/// The card that the driver calls `name`, also where that name stands inside a longer text; none for a card that is not in
/// the table. A part of a card (MIG), a laptop's chip and variants that the table lacks have other figures: none.
pub fn lookup(name: &str) -> Option<Card> {
    let words = words(name);
    let (at, row) = TABLE.iter().find_map(|row| {
        let wanted = self::words(row.0);
        let at = words.windows(wanted.len()).position(|window| window == wanted)?;
        Some((at + wanted.len(), row))
    })?;
    let (name, bf16, f32_rate, bandwidth, source) = *row;
    let another = words[at..].iter().any(|word| OTHERS.contains(&word.as_str()));
    let variant = words.get(at).is_some_and(|word| VARIANTS.contains(&word.as_str()));
    (!another && !variant).then(|| Card {
        name,
        bf16_flops: Some(bf16 * 1e12).filter(|rate| *rate > 0.0),
        f32_flops: f32_rate * 1e12,
        bytes_per_second: bandwidth * 1e9,
        source,
    })
}

/// Words in lower case; spaces and hyphens part them.
fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// Words anywhere behind a name that make it a card of other figures.
const OTHERS: [&str; 5] = ["laptop", "mobile", "mig", "max", "sff"];

/// Words right behind a name that make it another card.
const VARIANTS: [&str; 4] = ["ti", "super", "d", "dd"];

const VOLTA: &str = "Tesla V100 data sheet, 2020";
const TURING: &str = "Tesla T4 data sheet, 2019";
const A100: &str = "A100 data sheet, 2021";
const AMPERE: &str = "the card's data sheet, 2021; sparse figures halved";
const HOPPER: &str = "the card's data sheet, 2024; sparse figures halved";
const ADA: &str = "the card's data sheet, 2023; sparse figures halved";
const BLACKWELL: &str = "Blackwell architecture technical brief, 2025; sparse figures halved";
const RTX_30: &str = "GA102 architecture whitepaper, 2020: tensor cores with f32 sums at twice the f32 rate";
const RTX_40: &str = "Ada architecture whitepaper, 2022: tensor cores with f32 sums at twice the f32 rate";
const RTX_50: &str = "RTX Blackwell architecture whitepaper, 2025: tensor cores with f32 sums at twice the f32 rate";
const RTX_PRO: &str = "the card's data sheet: tensor cores at four times the f32 rate";
const ORIN: &str = "Jetson AGX Orin 64GB data sheet, 2022: the largest of those that call themselves Orin";
const SPARK: &str = "DGX Spark data sheet, 2025: an eighth of the sparse FP4 rate";

/// Name, bf16 TFLOP/s (0: none), f32 TFLOP/s, GB/s, source. A name that contains another stands before it.
type Row = (&'static str, f64, f64, f64, &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Data centre.
    ("GB300",                                  2500.0,  80.0, 8000.0, BLACKWELL),
    ("B300",                                   2250.0,  75.0, 8000.0, BLACKWELL),
    ("GB200",                                  2500.0,  80.0, 8000.0, BLACKWELL),
    ("B200",                                   2250.0,  80.0, 8000.0, BLACKWELL),
    ("GH200 144G",                              989.4,  66.9, 4900.0, HOPPER),
    ("GH200",                                   989.4,  66.9, 4000.0, HOPPER),
    ("H200 NVL",                                835.5,  60.3, 4800.0, HOPPER),
    ("H200",                                    989.4,  66.9, 4800.0, HOPPER),
    ("H100 NVL",                                835.5,  60.3, 3938.0, HOPPER),
    ("H100 PCIe",                               756.5,  51.2, 2039.0, HOPPER),
    ("H100",                                    989.4,  66.9, 3352.0, HOPPER),
    ("H800 PCIe",                               756.5,  51.2, 2039.0, HOPPER),
    ("H800",                                    989.4,  66.9, 3352.0, HOPPER),
    ("H20",                                     148.0,  44.0, 4023.0, HOPPER),
    ("A100 80GB PCIe",                          312.0,  19.5, 1935.0, A100),
    ("A100 SXM4 80GB",                          312.0,  19.5, 2039.0, A100),
    ("A100 SXM 80GB",                           312.0,  19.5, 2039.0, A100),
    ("A100",                                    312.0,  19.5, 1555.0, A100),
    ("A800 SXM4 80GB",                          312.0,  19.5, 2039.0, A100),
    ("A800 80GB PCIe",                          312.0,  19.5, 1935.0, A100),
    ("A40",                                     149.7,  37.4,  696.0, AMPERE),
    ("A30",                                     165.0,  10.3,  933.0, AMPERE),
    ("A10G",                                     70.0,  31.5,  600.0, AMPERE),
    ("A10",                                     125.0,  31.2,  600.0, AMPERE),
    ("A2",                                       18.0,   4.5,  200.0, AMPERE),
    ("L40S",                                    362.0,  91.6,  864.0, ADA),
    ("L40",                                     181.0,  90.5,  864.0, ADA),
    ("L4",                                      121.0,  30.3,  300.0, ADA),
    ("T4",                                        0.0,   8.1,  320.0, TURING),
    ("V100",                                      0.0,  15.7,  900.0, VOLTA),
    // Workstation.
    ("RTX PRO 6000 Blackwell Max Q",            438.9, 109.7, 1792.0, RTX_PRO),
    ("RTX PRO 6000 Blackwell Server",           480.0, 120.0, 1597.0, RTX_PRO),
    ("RTX PRO 6000 Blackwell",                  503.8, 126.0, 1792.0, RTX_PRO),
    ("RTX 6000 Ada",                            364.2,  91.1,  960.0, RTX_PRO),
    ("RTX 5000 Ada",                            261.1,  65.3,  576.0, RTX_PRO),
    ("RTX 4500 Ada",                            158.5,  39.6,  432.0, RTX_PRO),
    ("RTX 4000 Ada",                            106.9,  26.7,  360.0, RTX_PRO),
    ("RTX A6000",                               154.8,  38.7,  768.0, RTX_PRO),
    ("RTX A5500",                               136.4,  34.1,  768.0, RTX_PRO),
    ("RTX A5000",                               111.1,  27.8,  768.0, RTX_PRO),
    ("RTX A4500",                                94.6,  23.7,  640.0, RTX_PRO),
    ("RTX A4000",                                76.7,  19.2,  448.0, RTX_PRO),
    ("RTX A2000",                                31.9,   8.0,  288.0, RTX_PRO),
    // Consumer.
    ("RTX 5090",                                209.5, 104.8, 1792.0, RTX_50),
    ("RTX 5080",                                112.6,  56.3,  960.0, RTX_50),
    ("RTX 5070 Ti",                              87.9,  43.9,  896.0, RTX_50),
    ("RTX 5070",                                 61.7,  30.9,  672.0, RTX_50),
    ("RTX 5060 Ti",                              47.4,  23.7,  448.0, RTX_50),
    ("RTX 5060",                                 38.4,  19.2,  448.0, RTX_50),
    ("RTX 4090 D",                              147.1,  73.5, 1008.0, RTX_40),
    ("RTX 4090",                                165.2,  82.6, 1008.0, RTX_40),
    ("RTX 4080 SUPER",                          104.4,  52.2,  736.0, RTX_40),
    ("RTX 4080",                                 97.5,  48.7,  717.0, RTX_40),
    ("RTX 4070 Ti SUPER",                        88.2,  44.1,  672.0, RTX_40),
    ("RTX 4070 Ti",                              80.2,  40.1,  504.0, RTX_40),
    ("RTX 4070 SUPER",                           71.0,  35.5,  504.0, RTX_40),
    ("RTX 4070",                                 58.3,  29.1,  504.0, RTX_40),
    ("RTX 4060 Ti",                              44.1,  22.1,  288.0, RTX_40),
    ("RTX 4060",                                 30.2,  15.1,  272.0, RTX_40),
    ("RTX 3090 Ti",                              80.0,  40.0, 1008.0, RTX_30),
    ("RTX 3090",                                 71.2,  35.6,  936.0, RTX_30),
    ("RTX 3080 Ti",                              68.2,  34.1,  912.0, RTX_30),
    ("RTX 3080",                                 59.5,  29.8,  760.0, RTX_30),
    ("RTX 3070 Ti",                              43.5,  21.7,  608.0, RTX_30),
    ("RTX 3070",                                 40.6,  20.3,  448.0, RTX_30),
    ("RTX 3060 Ti",                              32.4,  16.2,  448.0, RTX_30),
    ("RTX 3060",                                 25.5,  12.7,  360.0, RTX_30),
    ("RTX 3050",                                 18.2,   9.1,  224.0, RTX_30),
    // Machines with card and processor in one.
    ("GB10",                                    125.0,  31.0,  273.0, SPARK),
    ("Orin",                                     42.5,   5.3,  205.0, ORIN),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bf16(name: &str) -> Option<f64> {
        lookup(name).map(|card| card.bf16_flops.unwrap_or(0.0) / 1e12)
    }

    #[test]
    fn names_as_drivers_give_them() {
        for (name, tflops, gigabytes) in [
            ("NVIDIA H100 80GB HBM3", 989.4, 3352.0),
            ("NVIDIA H100 PCIe", 756.5, 2039.0),
            ("NVIDIA H100 NVL", 835.5, 3938.0),
            ("NVIDIA H200", 989.4, 4800.0),
            ("NVIDIA H200 NVL", 835.5, 4800.0),
            ("NVIDIA GH200 480GB", 989.4, 4000.0),
            ("NVIDIA GH200 144G HBM3e", 989.4, 4900.0),
            ("NVIDIA A100-SXM4-40GB", 312.0, 1555.0),
            ("NVIDIA A100-SXM4-80GB", 312.0, 2039.0),
            ("NVIDIA A100-PCIE-40GB", 312.0, 1555.0),
            ("NVIDIA A100 80GB PCIe", 312.0, 1935.0),
            ("NVIDIA B200", 2250.0, 8000.0),
            ("NVIDIA GB200", 2500.0, 8000.0),
            ("NVIDIA B300 SXM6 AC", 2250.0, 8000.0),
            ("NVIDIA A10", 125.0, 600.0),
            ("NVIDIA A10G", 70.0, 600.0),
            ("NVIDIA L4", 121.0, 300.0),
            ("NVIDIA L40", 181.0, 864.0),
            ("NVIDIA L40S", 362.0, 864.0),
            ("NVIDIA GeForce RTX 3090", 71.2, 936.0),
            ("NVIDIA GeForce RTX 3090 Ti", 80.0, 1008.0),
            ("NVIDIA GeForce RTX 4070 Ti SUPER", 88.2, 672.0),
            ("NVIDIA GeForce RTX 4090 D", 147.1, 1008.0),
            ("NVIDIA GeForce RTX 5090", 209.5, 1792.0),
            ("NVIDIA RTX A6000", 154.8, 768.0),
            ("NVIDIA RTX 6000 Ada Generation", 364.2, 960.0),
            ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 503.8, 1792.0),
            ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 438.9, 1792.0),
            ("Orin", 42.5, 205.0),
            ("nvidia geforce rtx 4060 ti", 44.1, 288.0),
            ("cuda:0, NVIDIA H100 80GB HBM3, bf16", 989.4, 3352.0),
        ] {
            let card = lookup(name).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert_eq!(card.bf16_flops, Some(tflops * 1e12), "{name}");
            assert_eq!(card.bytes_per_second, gigabytes * 1e9, "{name}");
        }
    }

    #[test]
    fn cards_without_bf16_are_known_as_such() {
        assert_eq!(bf16("Tesla T4"), Some(0.0));
        assert_eq!(bf16("Tesla V100-SXM2-16GB"), Some(0.0));
    }

    #[test]
    fn other_cards_are_not_taken_for_their_namesakes() {
        for name in [
            "",
            "NVIDIA",
            "AMD EPYC 9554, avx512bf16, 2 threads",
            "NVIDIA GeForce GTX 1080 Ti",
            "NVIDIA GeForce RTX 4090 Laptop GPU",
            "NVIDIA GeForce RTX 5090 D",
            "NVIDIA GeForce RTX 3060 Laptop GPU",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "NVIDIA RTX 4000 SFF Ada Generation",
            "NVIDIA RTX A2000 Laptop GPU",
            "Quadro RTX 6000",
        ] {
            assert_eq!(lookup(name), None, "{name}");
        }
    }

    #[test]
    fn every_row_can_be_found_and_is_plausible() {
        for (name, bf16, f32_rate, bandwidth, _) in TABLE {
            let card = lookup(&format!("NVIDIA {name}")).unwrap_or_else(|| panic!("{name} is hidden"));
            assert_eq!(card.name, *name, "a shorter name stands before it");
            // Tensor cores are faster than the others, and a card does 3 to 1000 operations per byte.
            assert!(*bf16 == 0.0 || *bf16 > 1.9 * f32_rate, "{name}");
            let intensity = f32_rate * 1e3 / bandwidth;
            assert!((3.0..130.0).contains(&intensity), "{name}: {intensity}");
        }
    }
}
