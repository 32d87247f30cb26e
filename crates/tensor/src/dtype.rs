//! Element types. What a type means to the hardware is the backend's business.

/// Element type of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// The upper half of an `F32` (8 exponent bits, 7 fraction bits).
    Bf16,
    /// IEEE double precision; only the oracle backend computes in it.
    F64,
    /// Signed indices: token ids, targets, positions.
    I32,
    /// Opaque bytes: a backend's packed compute copy.
    Byte,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::Bf16 => 2,
            DType::F64 => 8,
            DType::Byte => 1,
        }
    }

    /// The name users see and write (`FERROCHAT_DTYPE`).
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::Bf16 => "bfloat16",
            DType::F64 => "float64",
            DType::I32 => "int32",
            DType::Byte => "byte",
        }
    }
}
