//! DICOM objects to bytes.
//!
//! Source: DICOM PS3.5, clause 7, and PS3.10, clause 7. Little endian; sequences and items have
//! defined lengths.

use std::collections::BTreeMap;

use super::{element::DataSet, tags};

/// The root of this program's implementation identifiers: one made of a UUID, as PS3.5 B.2 allows.
const IMPLEMENTATION: &str = "2.25.286905730183645512094871226387459401";

const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";

/// Elements by their tags, to be written in that order.
#[derive(Debug, Clone, Default)]
pub(super) struct Elements(BTreeMap<u32, ([u8; 2], Value)>);

#[derive(Debug, Clone)]
enum Value {
    Bytes(Vec<u8>),
    Items(Vec<Elements>),
}

impl Elements {
    /// A text, cut to what its representation holds. What is no ASCII would need the character set
    /// that other texts of the object are in.
    pub(super) fn text(&mut self, tag: u32, vr: &[u8; 2], text: &str) -> &mut Self {
        let most = match vr {
            b"CS" | b"SH" => 16,
            b"LO" | b"PN" | b"UI" => 64,
            _ => usize::MAX,
        };
        let plain = |c: char| c.is_ascii() && (c != '\\' || vr != b"LO");
        let text = text.chars().map(|c| if plain(c) { c } else { '_' });
        let mut bytes = text.take(most).collect::<String>().into_bytes();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.bytes(tag, vr, bytes)
    }

    pub(super) fn shorts(&mut self, tag: u32, values: &[u16]) -> &mut Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(tag, b"US", bytes)
    }

    pub(super) fn longs(&mut self, tag: u32, values: &[u32]) -> &mut Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(tag, b"UL", bytes)
    }

    /// A tag as a value.
    pub(super) fn pointer(&mut self, tag: u32, to: u32) -> &mut Self {
        let halves = [(to >> 16) as u16, to as u16];
        self.bytes(
            tag,
            b"AT",
            halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    pub(super) fn whole(&mut self, tag: u32, value: usize) -> &mut Self {
        self.text(tag, b"IS", &value.to_string())
    }

    pub(super) fn decimals(&mut self, tag: u32, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(|&v| decimal(v)).collect();
        self.text(tag, b"DS", &texts.join("\\"))
    }

    pub(super) fn items(&mut self, tag: u32, items: Vec<Elements>) -> &mut Self {
        self.0.insert(tag, (*b"SQ", Value::Items(items)));
        self
    }

    pub(super) fn item(&mut self, tag: u32, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut item = Self::default();
        fill(&mut item);
        self.items(tag, vec![item])
    }

    /// A code: value, scheme and meaning.
    pub(super) fn code(&mut self, tag: u32, [value, scheme, meaning]: [&str; 3]) -> &mut Self {
        self.item(tag, |item| {
            item.text(0x0008_0100, b"SH", value)
                .text(0x0008_0102, b"SH", scheme)
                .text(0x0008_0104, b"LO", meaning);
        })
    }

    pub(super) fn bytes(&mut self, tag: u32, vr: &[u8; 2], mut bytes: Vec<u8>) -> &mut Self {
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        self.0.insert(tag, (*vr, Value::Bytes(bytes)));
        self
    }

    /// A text of another object as it stands there; empty where it has none.
    pub(super) fn copy(&mut self, tag: u32, vr: &[u8; 2], from: &DataSet<'_>) -> &mut Self {
        let value = from.get(tag).map_or(&[][..], |e| e.value);
        self.bytes(tag, vr, value.to_vec())
    }

    fn encode(&self, explicit: bool, out: &mut Vec<u8>) {
        for (&tag, (vr, value)) in &self.0 {
            let content = match value {
                Value::Bytes(bytes) => bytes.clone(),
                Value::Items(items) => {
                    let mut content = Vec::new();
                    for item in items {
                        let mut inner = Vec::new();
                        item.encode(explicit, &mut inner);
                        put_tag(&mut content, 0xfffe_e000);
                        content.extend((inner.len() as u32).to_le_bytes());
                        content.extend(inner);
                    }
                    content
                }
            };
            put_tag(out, tag);
            if !explicit {
                out.extend((content.len() as u32).to_le_bytes());
            } else if matches!(vr, b"OB" | b"OW" | b"SQ") {
                out.extend(vr);
                out.extend([0; 2]);
                out.extend((content.len() as u32).to_le_bytes());
            } else {
                out.extend(vr);
                out.extend((content.len() as u16).to_le_bytes());
            }
            out.extend(content);
        }
    }

    /// A whole file. With implicit representations texts may be longer than 65534 bytes.
    pub(super) fn file(&self, explicit: bool) -> Vec<u8> {
        let own = |tag: u32| match self.0.get(&tag) {
            Some((_, Value::Bytes(bytes))) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                text.trim_end_matches('\0').to_owned()
            }
            _ => String::new(),
        };
        let syntax = if explicit {
            EXPLICIT_LITTLE
        } else {
            IMPLICIT_LITTLE
        };
        let mut meta = Self::default();
        meta.bytes(0x0002_0001, b"OB", vec![0, 1])
            .text(0x0002_0002, b"UI", &own(tags::SOP_CLASS_UID))
            .text(0x0002_0003, b"UI", &own(tags::SOP_INSTANCE_UID))
            .text(tags::TRANSFER_SYNTAX_UID, b"UI", syntax)
            .text(0x0002_0012, b"UI", IMPLEMENTATION)
            .text(0x0002_0013, b"SH", "CROSSMOD");
        let mut group = Vec::new();
        meta.encode(true, &mut group);
        let mut length = Self::default();
        length.longs(0x0002_0000, &[group.len() as u32]);

        let mut out = vec![0; 128];
        out.extend(b"DICM");
        length.encode(true, &mut out);
        out.extend(group);
        self.encode(explicit, &mut out);
        out
    }
}

fn put_tag(out: &mut Vec<u8>, tag: u32) {
    out.extend(((tag >> 16) as u16).to_le_bytes());
    out.extend((tag as u16).to_le_bytes());
}

/// A number in at most the 16 characters that a decimal string has.
fn decimal(value: f64) -> String {
    let plain = format!("{}", if value == 0.0 { 0.0 } else { value });
    if plain.len() <= 16 {
        return plain;
    }
    (0..=14)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .find(|text| text.len() <= 16)
        .unwrap_or_else(|| format!("{value:.8e}"))
}

/// An identifier that follows from what it names: the same content gets the same again.
pub(super) fn uid(of: &[&[u8]]) -> String {
    // FNV-1a of 128 bits, as Fowler, Noll and Vo give it.
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in of {
        for &byte in part.iter().chain(&(part.len() as u64).to_le_bytes()) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(prime);
        }
    }
    // A UUID of version 8, one's own making (RFC 9562, 5.8).
    let uuid = hash & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    format!("2.25.{uuid}")
}

/// Date and time (UTC) as DICOM writes them, of seconds since 1970.
pub(super) fn date_and_time(seconds: u64) -> [String; 2] {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Years from March on, in eras of 400 (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    [
        format!("{:04}{month:02}{day:02}", year + 400 * era + next),
        format!("{:02}{:02}{:02}", time / 3600, time / 60 % 60, time % 60),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::dicom::element::Encoding;

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date, time) in [
            (0, "19700101", "000000"),
            (951_782_399, "20000228", "235959"),
            (951_782_400, "20000229", "000000"),
            (1_735_689_599, "20241231", "235959"),
            (4_107_542_400, "21000301", "000000"),
        ] {
            assert_eq!(date_and_time(seconds), [date, time]);
        }
    }

    #[test]
    fn numbers_fit_in_sixteen_characters() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -161.07467269897,
            1.0 / 3.0,
            -1e9 / 7.0,
            1e-9 / 3.0,
            1e20,
        ] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let again: f64 = text.parse().expect("a number");
            assert!(
                (again - value).abs() <= 1e-7 * value.abs().max(1e-7),
                "{text}"
            );
        }
    }

    #[test]
    fn identifiers_follow_their_content() {
        let [a, b, c] = [
            &[b"ab".as_slice(), b"c"][..],
            &[b"a", b"bc"],
            &[b"ab", b"c"],
        ]
        .map(uid);
        assert!(a == c && a != b && a.len() <= 64, "{a} {b}");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut set = Elements::default();
        set.text(tags::MODALITY, b"CS", "SEG")
            .shorts(tags::ROWS, &[7])
            .decimals(tags::IMAGE_POSITION, &[1.5, -2.25, 1.0 / 3.0])
            .item(tags::PIXEL_MEASURES_SEQUENCE, |item| {
                item.decimals(tags::PIXEL_SPACING, &[0.5, 0.25]);
            });
        for explicit in [true, false] {
            let mut bytes = Vec::new();
            set.encode(explicit, &mut bytes);
            let encoding = Encoding {
                explicit,
                big: false,
            };
            let read = DataSet::parse(&bytes, encoding).expect("a data set");
            assert_eq!(read.text(tags::MODALITY).as_deref(), Some("SEG"));
            assert_eq!(read.short(tags::ROWS), Some(7));
            let position = read.decimals(tags::IMAGE_POSITION).expect("a position");
            assert!((position[2] - 1.0 / 3.0).abs() < 1e-13, "{position:?}");
            let item = read.item(tags::PIXEL_MEASURES_SEQUENCE).expect("items");
            let spacing = item.and_then(|i| i.decimals(tags::PIXEL_SPACING));
            assert_eq!(spacing, Some(vec![0.5, 0.25]));
        }
    }
}
