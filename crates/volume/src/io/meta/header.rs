//! The lines that start a MetaImage file: `Key = values`, the last of them `ElementDataFile`.

use std::collections::BTreeMap;

use glam::{DMat3, DMat4, DVec3};

use crate::{
    Error, Grid, Result,
    io::{
        Dtype, Storage,
        axes::completed,
        samples::Endian,
        source::Rest,
        text::{TextHeader, Told, data_file, number, values},
    },
};

/// Longest header read, bytes.
const LONGEST: u64 = 1 << 20;

/// Most axes of a file, by MetaIO.
const MOST_AXES: usize = 10;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::io) struct Header {
    pub(super) dtype: Dtype,
    pub(super) endian: Endian,
    pub(super) compressed: bool,
    /// Where samples start in their file, or behind the header; `None` for the file's last bytes.
    pub(super) skip: Option<u64>,
    /// The file of the samples, where they do not follow the header.
    data_file: Option<String>,
    /// Samples along each axis, the fastest first.
    sizes: Vec<usize>,
    /// mm.
    spacings: Vec<f64>,
    /// The unit step along each axis, in turn.
    directions: Option<Vec<f64>>,
    /// mm, LPS.
    origin: Option<Vec<f64>>,
}

impl TextHeader for Header {
    fn read(file: &mut Rest) -> Result<Self> {
        let mut fields = BTreeMap::new();
        let mut taken = 0;
        while !fields.contains_key("ElementDataFile") {
            let line = file.line(LONGEST - taken)?;
            taken += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            match text.split_once('=') {
                Some((key, value)) => {
                    fields.insert(key.trim().to_owned(), value.trim().to_owned());
                }
                None if !line.is_empty() && text.trim().is_empty() => {}
                None => {
                    return Err(Error::format(
                        "expected a MetaImage header of lines \"Key = value\" that ends with \
                         ElementDataFile, found none; the file is truncated or no MetaImage, so \
                         fetch it again",
                        &file.path,
                    ));
                }
            }
        }
        Self::of(&fields).map_err(|message| Error::format(message, &file.path))
    }

    fn data_file(&self) -> Option<&str> {
        self.data_file.as_deref()
    }
}

impl Header {
    fn of(fields: &BTreeMap<String, String>) -> Told<Self> {
        // The last of several names counts, as in MetaIO.
        let any = |names: &[&str]| names.iter().rev().find_map(|name| fields.get(*name));
        let need = |name: &str| {
            fields.get(name).ok_or_else(|| {
                format!("expected the field {name} in the header, found none; write it again")
            })
        };
        let truth = |names: &[&str]| {
            any(names).is_some_and(|text| text.starts_with(['T', 't', 'Y', 'y', '1']))
        };
        if let Some(kind) = fields.get("ObjectType").filter(|kind| *kind != "Image") {
            return Err(format!("expected ObjectType = Image, found {kind}"));
        }
        let axes: usize = number("NDims", need("NDims")?)?;
        if !(1..=MOST_AXES).contains(&axes) {
            return Err(format!("expected NDims of 1 to {MOST_AXES}, found {axes}"));
        }
        let sizes = values("DimSize", need("DimSize")?, axes)?;
        if !truth(&["BinaryData"]) && fields.contains_key("BinaryData") {
            return Err("expected binary samples, found text; convert it first".into());
        }
        let channels = fields.get("ElementNumberOfChannels").map_or("1", |n| n);
        if channels != "1" {
            return Err(format!(
                "expected one number for each voxel, found {channels}; split it first"
            ));
        }
        // Size stands in for spacing where only that is given.
        let spacings = any(&["ElementSize", "ElementSpacing"])
            .map_or(Ok(vec![1.0; axes]), |text| {
                values("ElementSpacing", text, axes)
            })?;
        let directions = any(&["Orientation", "Rotation", "TransformMatrix"])
            .map(|text| values("TransformMatrix", text, axes * axes))
            .transpose()?;
        let origin = any(&["Origin", "Position", "Offset"])
            .map(|text| values("Offset", text, axes))
            .transpose()?;
        let big = truth(&["ElementByteOrderMSB", "BinaryDataByteOrderMSB"]);
        let data_file = match need("ElementDataFile")? {
            text if text.eq_ignore_ascii_case("LOCAL") => None,
            text => Some(data_file(text)?),
        };
        let compressed = truth(&["CompressedData"]);
        let skip = match fields.get("HeaderSize") {
            Some(text) => match number::<i64>("HeaderSize", text)? {
                -1 if !compressed => None,
                n => Some(
                    u64::try_from(n)
                        .map_err(|_| format!("expected a HeaderSize of -1 or more, found {n}"))?,
                ),
            },
            None => Some(0),
        };
        if skip.is_some_and(|n| n > 0) && (compressed || data_file.is_none()) {
            return Err(
                "expected HeaderSize only with a data file of its own that is not compressed, \
                 found one; write the file again"
                    .into(),
            );
        }
        Ok(Self {
            dtype: dtype(need("ElementType")?)?,
            endian: if big { Endian::Big } else { Endian::Little },
            compressed,
            skip,
            data_file,
            sizes,
            spacings,
            directions,
            origin,
        })
    }

    /// Where the voxels lie, RAS mm.
    pub(super) fn grid(&self) -> Told<Grid> {
        let axes = self.sizes.len();
        if let Some((axis, n)) = self
            .sizes
            .iter()
            .enumerate()
            .skip(3)
            .find(|&(_, &n)| n != 1)
        {
            return Err(format!(
                "expected one volume, found {n} along axis {}; split it first",
                axis + 1
            ));
        }
        let kept = axes.min(3);
        let vector = |v: &[f64]| {
            let mut full = [0.0; 3];
            full[..kept].copy_from_slice(&v[..kept]);
            DVec3::from_array(full)
        };
        let columns: Vec<DVec3> = (0..kept)
            .map(|axis| {
                let unit = match &self.directions {
                    Some(m) => vector(&m[axis * axes..]),
                    None => DVec3::AXES[axis],
                };
                unit * self.spacings[axis]
            })
            .collect();
        let mut shape = [1; 3];
        shape[..kept].copy_from_slice(&self.sizes[..kept]);
        let to_ras = DMat3::from_diagonal(DVec3::new(-1.0, -1.0, 1.0));
        let mut world = DMat4::from_mat3(to_ras * completed(&columns));
        let origin = self.origin.as_ref().map_or(DVec3::ZERO, |v| vector(v));
        world.w_axis = (to_ras * origin).extend(1.0);
        Grid::new(shape, world).map_err(|e| e.to_string())
    }
}

/// The header of a new file with so many bytes of compressed samples, up to and with its last line.
pub(super) fn text(grid: &Grid, storage: &Storage, packed: usize, data_file: &str) -> String {
    let m = grid.world_from_voxel();
    // Adding 0 makes a 0 of -0.
    let lps = |v: DVec3| v * DVec3::new(-1.0, -1.0, 1.0) + DVec3::ZERO;
    let line = |v: DVec3| format!("{} {} {}", v.x, v.y, v.z);
    let columns = [m.x_axis, m.y_axis, m.z_axis].map(|c| lps(c.truncate()));
    let [nx, ny, nz] = grid.shape();
    let kind = match storage.dtype {
        Dtype::U8 => "UCHAR",
        Dtype::I8 => "CHAR",
        Dtype::U16 => "USHORT",
        Dtype::I16 => "SHORT",
        Dtype::U32 => "UINT",
        Dtype::I32 => "INT",
        Dtype::U64 => "ULONG_LONG",
        Dtype::I64 => "LONG_LONG",
        Dtype::F32 => "FLOAT",
        Dtype::F64 => "DOUBLE",
    };
    format!(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
         CompressedData = True\nCompressedDataSize = {packed}\nTransformMatrix = {}\nOffset = {}\nCenterOfRotation = 0 0 0\n\
         AnatomicalOrientation = RAI\nElementSpacing = {}\nDimSize = {nx} {ny} {nz}\n\
         ElementType = MET_{kind}\nElementDataFile = {data_file}\n",
        columns.map(|c| line(c.normalize())).join(" "),
        line(lps(m.w_axis.truncate())),
        line(DVec3::from_array(columns.map(DVec3::length))),
    )
}

fn dtype(text: &str) -> Told<Dtype> {
    Ok(match text.strip_prefix("MET_").unwrap_or(text) {
        "CHAR" => Dtype::I8,
        "UCHAR" => Dtype::U8,
        "SHORT" => Dtype::I16,
        "USHORT" => Dtype::U16,
        // Four bytes in MetaIO on every platform.
        "INT" | "LONG" => Dtype::I32,
        "UINT" | "ULONG" => Dtype::U32,
        "LONG_LONG" => Dtype::I64,
        "ULONG_LONG" => Dtype::U64,
        "FLOAT" => Dtype::F32,
        "DOUBLE" => Dtype::F64,
        _ => {
            return Err(format!(
                "expected whole numbers or floats of 8 to 64 bits, found the type {text}; convert \
                 it first"
            ));
        }
    })
}
