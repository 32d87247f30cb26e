//! Which instruction set the CPU kernels use: found at run time, forced by
//! an environment variable, and handed to every kernel as a plain value.
//!
//! Must never know what a kernel computes.

#[cfg(target_arch = "x86_64")]
use super::amx;

/// An instruction-set level, in rising order: a level includes those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Isa {
    /// What the compilation target guarantees (SSE2, NEON, ...).
    Portable,
    /// AVX2 and FMA: 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// `Avx512` and its dot product of bf16 pairs.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// `Avx512Bf16` and AMX's product of bf16 tiles.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Isa {
    /// Every level known on this architecture, lowest first.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Portable,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Bf16,
        #[cfg(target_arch = "x86_64")]
        Self::Amx,
    ];

    /// The highest level this CPU and operating system support.
    pub(crate) fn detect() -> Self {
        let in_hardware = |isa: &Self| isa.is_supported() && !isa.is_emulated();
        let mut levels = Self::ALL.iter().copied();
        levels.rfind(in_hardware).unwrap_or(Self::Portable)
    }

    /// Whether a test executes the level's instructions in software.
    fn is_emulated(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::amx() != amx::Amx::Present,
            _ => false,
        }
    }

    /// The levels this CPU supports, lowest first.
    pub(crate) fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_supported())
    }

    /// The level named by environment variable `variable`; where it is unset
    /// or empty, the highest supported one.
    ///
    /// # Errors
    /// One sentence, if the name is unknown or this CPU lacks the level.
    pub(crate) fn from_env(variable: &str) -> Result<Self, String> {
        match std::env::var_os(variable) {
            None => Ok(Self::detect()),
            Some(value) if value.is_empty() => Ok(Self::detect()),
            Some(value) => Self::parse(&value.to_string_lossy())
                .map_err(|reason| format!("{variable}={}: {reason}", value.to_string_lossy())),
        }
    }

    /// The level of that name.
    ///
    /// # Errors
    /// One sentence, if the name is unknown or this CPU lacks the level.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let list = || {
            let names: Vec<_> = Self::supported().map(Self::name).collect();
            names.join(", ")
        };
        match Self::ALL.iter().copied().find(|isa| isa.name() == name) {
            None => Err(format!("no such kernel level; this CPU supports {}", list())),
            #[cfg(target_arch = "x86_64")]
            Some(Self::Amx) if !Self::Amx.is_supported() => {
                Err(format!("AMX is {}; this CPU supports {}", amx::amx(), list()))
            }
            Some(isa) if !isa.is_supported() => {
                Err(format!("this CPU lacks that kernel level; it supports {}", list()))
            }
            Some(isa) => Ok(isa),
        }
    }

    /// The name used by the environment variable and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
        }
    }

    /// Whether this CPU can run kernels of this level. Cheap: the answers
    /// are kept.
    pub(crate) fn is_supported(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Bf16.is_supported() && (amx::amx() == amx::Amx::Present || amx::emulated()),
        }
    }

    /// Whether the level multiplies bf16 pairs in hardware; elsewhere bf16
    /// operands are widened to f32.
    pub(crate) fn has_bf16_dot(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 | Self::Amx => true,
            _ => false,
        }
    }

    /// Runs `body` compiled for this level, so that plain loops in it are
    /// vectorised with its registers.
    ///
    /// Only what is inlined gains, and the compiler gives up at the size of a real kernel: mark
    /// `body` itself and the functions it calls `#[inline(always)]`, and keep the loops out of further
    /// closures handed to non-inlined code. A loop also has to be one that vectorises: over
    /// slices of one length, zipped or cut to it, since an index that is checked anew ends that. The compiler never fuses a multiplication with an
    /// addition by itself, so such code gives the same bits on every level
    /// (as long as it avoids `mul_add`, which is also a slow library call on
    /// `Portable`).
    ///
    /// # Panics
    /// If this CPU does not support the level.
    #[inline]
    pub(crate) fn vectorize<R>(self, body: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn avx2<R>(body: impl FnOnce() -> R) -> R {
                body()
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn avx512<R>(body: impl FnOnce() -> R) -> R {
                body()
            }
            assert!(self.is_supported(), "this CPU lacks {}", self.name());
            match self {
                Self::Portable => body(),
                // SAFETY: the assertion above found these features on this CPU
                // (every CPU with AVX2 has the bit-manipulation ones).
                Self::Avx2 => unsafe { avx2(body) },
                // SAFETY: as above.
                Self::Avx512 | Self::Avx512Bf16 | Self::Amx => unsafe { avx512(body) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        body()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_portable_is_everywhere() {
        assert!(Isa::ALL.is_sorted());
        assert_eq!(Isa::supported().next(), Some(Isa::Portable));
        assert!(Isa::detect().is_supported());
    }

    #[test]
    fn names_are_read_back_and_wrong_ones_list_the_right_ones() {
        for isa in Isa::supported() {
            assert_eq!(Isa::parse(isa.name()), Ok(isa));
        }
        let message = Isa::parse("sse9").unwrap_err();
        assert!(message.contains("portable"), "{message}");
    }

    #[test]
    fn an_unset_variable_means_the_best_level() {
        assert_eq!(Isa::from_env("FERROCHAT_TEST_UNSET_VARIABLE"), Ok(Isa::detect()));
    }

    #[test]
    fn vectorize_gives_the_same_bits_on_every_level() {
        let x: Vec<f32> = (0..1003).map(|i| (i as f32).sin()).collect();
        let run = |isa: Isa| {
            let mut y = vec![0.0; x.len()];
            isa.vectorize(|| {
                for (y, x) in y.iter_mut().zip(&x) {
                    *y = x * x * 3.0 + x;
                }
            });
            y
        };
        let expected = run(Isa::Portable);
        for isa in Isa::supported() {
            assert_eq!(run(isa), expected, "{}", isa.name());
        }
    }
}
