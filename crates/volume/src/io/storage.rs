//! How samples are kept in a file, so that a result can be written like its source.

/// The type, scaling and bookkeeping of a file's samples.
///
/// `value = slope * stored + intercept`. The codes are those of NIfTI-1 (0 unknown, 1 scanner,
/// 2 aligned to another scan, 3 Talairach, 4 MNI 152); formats without them leave them 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// Type of one stored sample.
    pub dtype: Dtype,
    /// Factor from stored to real value; 0 counts as 1.
    pub slope: f64,
    /// Real value of a stored 0.
    pub intercept: f64,
    /// Unit of lengths in the file. In memory they are always mm.
    pub length_unit: LengthUnit,
    /// What the affine of the quaternion refers to.
    pub qform_code: i16,
    /// What the affine of the matrix refers to.
    pub sform_code: i16,
}

impl Default for Storage {
    /// Unscaled `f32` in mm, in the scanner's coordinates.
    fn default() -> Self {
        Self {
            dtype: Dtype::F32,
            slope: 1.0,
            intercept: 0.0,
            length_unit: LengthUnit::Millimetre,
            qform_code: 1,
            sform_code: 1,
        }
    }
}

impl Storage {
    /// Whether stored and real values are the same.
    #[must_use]
    pub fn is_unscaled(&self) -> bool {
        self.scaling() == (1.0, 0.0)
    }

    /// Whether the file says where its voxels lie; else voxel sizes alone are known, and axes are
    /// taken to run as the format's world does.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        self.qform_code > 0 || self.sform_code > 0
    }

    /// For formats without scaling, which hold real values as [`Dtype::F32`] where there is one.
    pub(super) fn without_scaling(&self) -> Self {
        if self.is_unscaled() {
            return *self;
        }
        Self {
            dtype: Dtype::F32,
            slope: 1.0,
            intercept: 0.0,
            ..*self
        }
    }

    /// Slope and intercept as the file holds them: in `f32`, with a slope that can be divided by.
    pub(super) fn scaling(&self) -> (f64, f64) {
        let (slope, intercept) = (self.slope as f32, self.intercept as f32);
        if slope == 0.0 || !slope.is_finite() || !intercept.is_finite() {
            return (1.0, 0.0);
        }
        (f64::from(slope), f64::from(intercept))
    }
}

/// Unit of lengths in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthUnit {
    /// Metre.
    Metre,
    /// Millimetre; also taken where a file does not say.
    Millimetre,
    /// Micrometre.
    Micron,
}

impl LengthUnit {
    /// Millimetres in one of this unit.
    #[must_use]
    pub fn mm(self) -> f64 {
        match self {
            Self::Metre => 1e3,
            Self::Millimetre => 1.0,
            Self::Micron => 1e-3,
        }
    }
}

/// Type of one stored sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Unsigned, 8 bit.
    U8,
    /// Signed, 8 bit.
    I8,
    /// Unsigned, 16 bit.
    U16,
    /// Signed, 16 bit.
    I16,
    /// Unsigned, 32 bit.
    U32,
    /// Signed, 32 bit.
    I32,
    /// Unsigned, 64 bit.
    U64,
    /// Signed, 64 bit.
    I64,
    /// IEEE 754, 32 bit.
    F32,
    /// IEEE 754, 64 bit.
    F64,
}

impl Dtype {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::U64,
        Self::I64,
        Self::F32,
        Self::F64,
    ];

    /// Bytes of one sample.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// As in Rust: `u8`, `f32`.
impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}
