//! The lines that start an NRRD file.
//!
//! Each is a field (`type: short`), a pair of the user's (`key:=value`, not kept) or a comment; an
//! empty one ends the header. Field names are told apart without regard to case and spaces.

use std::collections::BTreeMap;

use glam::DVec3;

use super::place;
use crate::{
    Error, Grid, Result,
    io::{
        Dtype, LengthUnit, Storage,
        samples::Endian,
        source::Rest,
        text::{TextHeader, Told, data_file, number, values},
    },
};

/// Longest header read, bytes: pairs of the user's can be long, but not this long.
const LONGEST: u64 = 16 << 20;

/// Most axes of a file, by the format.
const MOST_AXES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Gzip,
}

/// Where samples start behind the lines that are skipped; with gzip, among what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Bytes(u64),
    /// They are the last bytes of the file.
    ToTheLast,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::io) struct Header {
    pub(super) dtype: Dtype,
    /// Samples along each axis, the fastest first.
    pub(super) sizes: Vec<usize>,
    pub(super) encoding: Encoding,
    pub(super) line_skip: u64,
    pub(super) byte_skip: Skip,
    data_file: Option<String>,
    /// In lower case.
    pub(super) space: Option<String>,
    /// A step along each axis; `None` for one that goes nowhere in space.
    pub(super) directions: Option<Vec<Option<DVec3>>>,
    pub(super) origin: Option<DVec3>,
    pub(super) spacings: Option<Vec<f64>>,
    pub(super) kinds: Option<Vec<String>>,
    /// Of each axis of space.
    pub(super) units: Vec<String>,
    endian: Option<Endian>,
}

impl TextHeader for Header {
    fn read(file: &mut Rest) -> Result<Self> {
        let mut fields = BTreeMap::new();
        let mut taken = 0;
        let blank = loop {
            let line = file.line(LONGEST - taken)?;
            if taken == 0 && !line.starts_with(super::MAGIC) {
                return Err(Error::format(
                    "expected an NRRD header, which starts with NRRD000 and a number, found \
                     something else; check the name or convert the file",
                    &file.path,
                ));
            }
            taken += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if text.is_empty() {
                break !line.is_empty();
            }
            if let Some((name, value)) = field(text) {
                fields.insert(name, value.to_owned());
            }
        };
        // Only a blank line ends the header of one file; that of a pair may simply end.
        if taken >= LONGEST || !(blank || fields.contains_key("datafile")) {
            return Err(Error::format(
                "expected an empty line to end the header, found none; the file is truncated or no \
                 NRRD, so fetch it again",
                &file.path,
            ));
        }
        Self::of(&fields).map_err(|message| Error::format(message, &file.path))
    }

    fn data_file(&self) -> Option<&str> {
        self.data_file.as_deref()
    }
}

impl Header {
    fn of(fields: &BTreeMap<String, String>) -> Told<Self> {
        let get = |name: &str| fields.get(name).map(String::as_str);
        let need = |name: &str| {
            get(name).ok_or_else(|| {
                format!("expected the field \"{name}\" in the header, found none; write it again")
            })
        };
        let axes: usize = number("dimension", need("dimension")?)?;
        if !(1..=MOST_AXES).contains(&axes) {
            return Err(format!(
                "expected a dimension of 1 to {MOST_AXES}, found {axes}"
            ));
        }
        let sizes = values("sizes", need("sizes")?, axes)?;
        let directions = get("spacedirections").map(vectors).transpose()?;
        if let Some(found) = directions.as_ref().map(Vec::len).filter(|&n| n != axes) {
            return Err(format!(
                "expected space directions for {axes} axes, found {found}"
            ));
        }
        let origin = get("spaceorigin").map(vectors).transpose()?;
        let kinds = get("kinds")
            .map(|text| values::<String>("kinds", text, axes))
            .transpose()?;
        let encoding = encoding(need("encoding")?)?;
        let byte_skip = get("byteskip").map_or(Ok(Skip::Bytes(0)), byte_skip)?;
        if encoding == Encoding::Gzip && byte_skip == Skip::ToTheLast {
            return Err(
                "expected a byte skip of 0 or more with gzip, found -1; write the file again"
                    .into(),
            );
        }
        Ok(Self {
            dtype: dtype(need("type")?)?,
            sizes,
            encoding,
            line_skip: get("lineskip").map_or(Ok(0), |text| number("line skip", text))?,
            byte_skip,
            data_file: get("datafile").map(data_file).transpose()?,
            space: get("space").map(str::to_lowercase),
            directions,
            origin: origin.and_then(|v| v.first().copied().flatten()),
            spacings: get("spacings")
                .map(|text| values("spacings", text, axes))
                .transpose()?,
            kinds: kinds.map(|k| k.iter().map(|kind| kind.to_lowercase()).collect()),
            units: get("spaceunits").map(quoted).unwrap_or_default(),
            endian: get("endian").map(endian).transpose()?,
        })
    }

    /// The order of bytes; for samples of one byte it does not matter.
    pub(super) fn endian(&self) -> Told<Endian> {
        match self.endian {
            Some(endian) => Ok(endian),
            None if self.dtype.size() == 1 => Ok(Endian::Little),
            None => Err(format!(
                "expected \"endian: little\" or \"endian: big\" for samples of {}, found neither; \
                 add the right one to the header",
                self.dtype
            )),
        }
    }

    /// The unit that a result can be written in.
    pub(super) fn length_unit(&self) -> LengthUnit {
        let unit = self.units.first().map(|unit| place::unit_mm(unit));
        match unit {
            Some(1e3) => LengthUnit::Metre,
            Some(1e-3) => LengthUnit::Micron,
            _ => LengthUnit::Millimetre,
        }
    }
}

/// The header of a new file, up to and with the line that ends it.
pub(super) fn text(grid: &Grid, storage: &Storage) -> String {
    let [nx, ny, nz] = grid.shape();
    let (directions, origin) = place::in_lps(grid, storage.length_unit.mm());
    let vector = |v: DVec3| format!("({},{},{})", v.x, v.y, v.z);
    let unit = match storage.length_unit {
        LengthUnit::Metre => "m",
        LengthUnit::Millimetre => "mm",
        LengthUnit::Micron => "um",
    };
    let kind = match storage.dtype {
        Dtype::U8 => "uint8",
        Dtype::I8 => "int8",
        Dtype::U16 => "uint16",
        Dtype::I16 => "int16",
        Dtype::U32 => "uint32",
        Dtype::I32 => "int32",
        Dtype::U64 => "uint64",
        Dtype::I64 => "int64",
        Dtype::F32 => "float",
        Dtype::F64 => "double",
    };
    format!(
        "NRRD0004\ntype: {kind}\ndimension: 3\nspace: left-posterior-superior\n\
         sizes: {nx} {ny} {nz}\nspace directions: {}\nkinds: domain domain domain\n\
         endian: little\nencoding: gzip\nspace units: \"{unit}\" \"{unit}\" \"{unit}\"\n\
         space origin: {}\n\n",
        directions.map(vector).join(" "),
        vector(origin),
    )
}

/// The name, without its spaces, and the value of a field; `None` for other lines.
fn field(line: &str) -> Option<(String, &str)> {
    if line.starts_with('#') || line.as_bytes().starts_with(super::MAGIC) {
        return None;
    }
    let (name, value) = line.split_once(':')?;
    if value.starts_with('=') {
        return None;
    }
    Some((name.to_lowercase().replace(' ', ""), value.trim()))
}

/// Vectors such as `(1,0,0) none (0,0,2)`; one that is not a number is none, as old files say it.
fn vectors(text: &str) -> Told<Vec<Option<DVec3>>> {
    let fail = || {
        format!(
            "expected vectors of two or three numbers such as (1,0,0), or none, found \"{text}\""
        )
    };
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            found.push(None);
            rest = after.trim_start();
            continue;
        }
        let inner = rest.strip_prefix('(').ok_or_else(fail)?;
        let (inner, after) = inner.split_once(')').ok_or_else(fail)?;
        let numbers: Vec<f64> = inner
            .split(',')
            .map(|n| n.trim().parse().map_err(|_| fail()))
            .collect::<Told<_>>()?;
        let vector = match numbers[..] {
            [x, y] => DVec3::new(x, y, 0.0),
            [x, y, z] => DVec3::new(x, y, z),
            _ => return Err(fail()),
        };
        found.push((!vector.is_nan()).then_some(vector));
        rest = after.trim_start();
    }
    Ok(found)
}

/// Texts such as `"mm" "mm" "mm"`.
fn quoted(text: &str) -> Vec<String> {
    text.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn byte_skip(text: &str) -> Told<Skip> {
    match number::<i64>("byte skip", text)? {
        -1 => Ok(Skip::ToTheLast),
        n => u64::try_from(n)
            .map(Skip::Bytes)
            .map_err(|_| format!("expected a byte skip of -1 or more, found {n}")),
    }
}

fn encoding(text: &str) -> Told<Encoding> {
    match text.to_lowercase().as_str() {
        "raw" => Ok(Encoding::Raw),
        "gzip" | "gz" => Ok(Encoding::Gzip),
        _ => Err(format!(
            "expected the encoding raw or gzip, found {text}; convert it first"
        )),
    }
}

fn endian(text: &str) -> Told<Endian> {
    match text.to_lowercase().as_str() {
        "little" => Ok(Endian::Little),
        "big" => Ok(Endian::Big),
        _ => Err(format!("expected endian little or big, found \"{text}\"")),
    }
}

/// The type that one of its many names stands for.
fn dtype(text: &str) -> Told<Dtype> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Ok(match words.join(" ").as_str() {
        "signed char" | "int8" | "int8_t" => Dtype::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Dtype::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            Dtype::I16
        }
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Dtype::U16,
        "int" | "signed int" | "int32" | "int32_t" => Dtype::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Dtype::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => Dtype::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            Dtype::U64
        }
        "float" => Dtype::F32,
        "double" => Dtype::F64,
        _ => {
            return Err(format!(
                "expected whole numbers or floats of 8 to 64 bits, found the type \"{text}\"; \
                 convert it first"
            ));
        }
    })
}
