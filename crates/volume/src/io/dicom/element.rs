//! The elements of a DICOM data set, read from bytes in memory without copying them.
//!
//! Source: DICOM PS3.5, clause 7 (<https://dicom.nema.org/medical/dicom/current/output/html/part05.html>).
//! Every length is checked against the bytes that are there before anything is taken; sequences
//! are read when they are asked for. Value representations are those of the caller's tags, so that
//! no dictionary is needed.

/// Deepest nesting of sequences.
const DEEPEST: usize = 32;

const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;

pub(super) type Told<T> = Result<T, String>;

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Each element names its value representation.
    pub(super) explicit: bool,
    pub(super) big: bool,
}

impl Encoding {
    pub(super) const EXPLICIT_LITTLE: Self = Self {
        explicit: true,
        big: false,
    };
    const IMPLICIT_LITTLE: Self = Self {
        explicit: false,
        big: false,
    };

    pub(super) fn u16(self, b: [u8; 2]) -> u16 {
        if self.big {
            u16::from_be_bytes(b)
        } else {
            u16::from_le_bytes(b)
        }
    }

    pub(super) fn u32(self, b: [u8; 4]) -> u32 {
        if self.big {
            u32::from_be_bytes(b)
        } else {
            u32::from_le_bytes(b)
        }
    }

    fn u64(self, b: [u8; 8]) -> u64 {
        if self.big {
            u64::from_be_bytes(b)
        } else {
            u64::from_le_bytes(b)
        }
    }
}

/// One element; the value of one of undefined length ends before its delimiter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// Group and element.
    pub(super) tag: u32,
    /// Zeros where the file does not say.
    pub(super) vr: [u8; 2],
    pub(super) value: &'a [u8],
    /// Items follow each other up to a delimiter: a sequence, or frames that are compressed.
    pub(super) undefined: bool,
    encoding: Encoding,
}

/// The elements of one level.
#[derive(Debug, Clone, Default)]
pub(super) struct DataSet<'a> {
    /// By their tags.
    elements: Vec<Element<'a>>,
}

/// A place in the bytes.
struct Cursor<'a> {
    rest: &'a [u8],
    encoding: Encoding,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize, what: &str) -> Told<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(n) else {
            return Err(format!(
                "expected {n} bytes of {what}, found {}; the file is truncated or damaged, so \
                 fetch it again",
                self.rest.len()
            ));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Told<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, "a DICOM element")?);
        Ok(array)
    }

    fn tag(&mut self) -> Told<u32> {
        let [a, b, c, d] = self.array()?;
        let [group, element] = [[a, b], [c, d]].map(|half| u32::from(self.encoding.u16(half)));
        Ok(group << 16 | element)
    }

    fn u32(&mut self) -> Told<u32> {
        let four = self.array()?;
        Ok(self.encoding.u32(four))
    }

    fn element(&mut self, depth: usize) -> Told<Element<'a>> {
        let tag = self.tag()?;
        let mut vr = [0; 2];
        let length = if tag >> 16 == 0xfffe {
            self.u32()?
        } else if self.encoding.explicit && self.rest.starts_with_vr() {
            vr = self.array()?;
            if long_form(vr) {
                self.array::<2>()?;
                self.u32()?
            } else {
                let two = self.array()?;
                u32::from(self.encoding.u16(two))
            }
        } else {
            self.u32()?
        };
        let undefined = length == UNDEFINED;
        let mut encoding = self.encoding;
        let value = if undefined {
            // An unknown sequence is written without value representations (PS3.5, 6.2.2).
            if vr == *b"UN" {
                encoding = Encoding::IMPLICIT_LITTLE;
            }
            let mut inner = Cursor {
                rest: self.rest,
                encoding,
            };
            let whole = inner.rest;
            let after = inner.skip_items(depth)?;
            let value = &whole[..whole.len() - after];
            self.rest = inner.rest;
            value
        } else {
            self.take(length as usize, &format!("the element {}", name(tag)))?
        };
        Ok(Element {
            tag,
            vr,
            value,
            undefined,
            encoding,
        })
    }

    /// Passes the items of a sequence and its delimiter; says how many bytes were left before that.
    fn skip_items(&mut self, depth: usize) -> Told<usize> {
        loop {
            let left = self.rest.len();
            let item = self.item(depth)?;
            if item.is_none() {
                return Ok(left);
            }
        }
    }

    /// The bytes of the next item; `None` at the delimiter of the sequence.
    fn item(&mut self, depth: usize) -> Told<Option<&'a [u8]>> {
        if depth > DEEPEST {
            return Err(format!(
                "expected at most {DEEPEST} sequences within each other, found more; the file is \
                 damaged"
            ));
        }
        match self.tag()? {
            ITEM => {}
            SEQUENCE_END => {
                self.u32()?;
                return Ok(None);
            }
            other => {
                return Err(format!(
                    "expected an item of a sequence, found the element {}; the file is damaged",
                    name(other)
                ));
            }
        }
        let length = self.u32()?;
        if length != UNDEFINED {
            return self
                .take(length as usize, "an item of a sequence")
                .map(Some);
        }
        let whole = self.rest;
        loop {
            let left = self.rest.len();
            let element = self.element(depth + 1)?;
            if element.tag == ITEM_END {
                return Ok(Some(&whole[..whole.len() - left]));
            }
        }
    }
}

trait StartsWithVr {
    fn starts_with_vr(&self) -> bool;
}

impl StartsWithVr for &[u8] {
    fn starts_with_vr(&self) -> bool {
        matches!(self, [a, b, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase())
    }
}

/// Those with lengths of four bytes.
fn long_form(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB"
            | b"OD"
            | b"OF"
            | b"OL"
            | b"OV"
            | b"OW"
            | b"SQ"
            | b"SV"
            | b"UC"
            | b"UN"
            | b"UR"
            | b"UT"
            | b"UV"
    )
}

/// As in the standard: `(0028,0010)`.
pub(super) fn name(tag: u32) -> String {
    format!("({:04X},{:04X})", tag >> 16, tag & 0xffff)
}

/// The encoding that the first element shows, with the order of bytes that is known or guessed.
pub(super) fn guess(start: &[u8], big: Option<bool>) -> Encoding {
    let big = big.unwrap_or(matches!(start, [0, group, ..] if *group != 0));
    Encoding {
        explicit: start.get(4..).is_some_and(|b| b.starts_with_vr()),
        big,
    }
}

impl<'a> DataSet<'a> {
    pub(super) fn parse(bytes: &'a [u8], encoding: Encoding) -> Told<Self> {
        Self::parse_while(bytes, encoding, |_| true).map(|(set, _)| set)
    }

    /// Elements for as long as `wanted` says so of their tags, and how many bytes they took.
    pub(super) fn parse_while(
        bytes: &'a [u8],
        encoding: Encoding,
        wanted: impl Fn(u32) -> bool,
    ) -> Told<(Self, usize)> {
        let mut cursor = Cursor {
            rest: bytes,
            encoding,
        };
        let mut elements = Vec::new();
        // Fewer bytes than an element takes are padding.
        while cursor.rest.len() >= 8 {
            let peek = Cursor { ..cursor }.tag()?;
            if !wanted(peek) {
                break;
            }
            let element = cursor.element(0)?;
            // Trailing zeros, and delimiters without a beginning.
            if element.tag == 0 || element.tag >> 16 == 0xfffe {
                continue;
            }
            elements.push(element);
        }
        // As the standard has them; a file may not.
        elements.sort_by_key(|e| e.tag);
        Ok((Self { elements }, bytes.len() - cursor.rest.len()))
    }

    pub(super) fn get(&self, tag: u32) -> Option<&Element<'a>> {
        let at = self.elements.partition_point(|e| e.tag < tag);
        self.elements.get(at).filter(|e| e.tag == tag)
    }

    /// The text of an element without padding; `None` where it is absent or empty.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let value = self.get(tag)?.value;
        let text = String::from_utf8_lossy(value);
        let text = text.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The numbers of a text such as `1.5\-3`; `None` where any is none.
    pub(super) fn decimals(&self, tag: u32) -> Option<Vec<f64>> {
        self.text(tag)?
            .split('\\')
            .map(|n| n.trim().parse().ok().filter(|n: &f64| n.is_finite()))
            .collect()
    }

    pub(super) fn decimal(&self, tag: u32) -> Option<f64> {
        self.decimals(tag)?.first().copied()
    }

    /// The first of some numbers of two bytes.
    pub(super) fn short(&self, tag: u32) -> Option<u16> {
        let element = self.get(tag)?;
        let &two = element.value.first_chunk()?;
        Some(element.encoding.u16(two))
    }

    /// Numbers of eight bytes.
    pub(super) fn very_longs(&self, tag: u32) -> Option<Vec<u64>> {
        let element = self.get(tag)?;
        let eights = element.value.as_chunks().0.iter();
        Some(eights.map(|&b| element.encoding.u64(b)).collect())
    }

    /// The items of a sequence; none where it is absent.
    pub(super) fn sequence(&self, tag: u32) -> Told<Vec<DataSet<'a>>> {
        let Some(element) = self.get(tag) else {
            return Ok(Vec::new());
        };
        let items = element.items()?.into_iter();
        items
            .map(|item| Self::parse(item, element.encoding))
            .collect()
    }

    /// The first item of a sequence.
    pub(super) fn item(&self, tag: u32) -> Told<Option<DataSet<'a>>> {
        Ok(self.sequence(tag)?.into_iter().next())
    }
}

impl<'a> Element<'a> {
    /// The bytes of each item of a sequence, or of each fragment of compressed frames.
    pub(super) fn items(&self) -> Told<Vec<&'a [u8]>> {
        let mut cursor = Cursor {
            rest: self.value,
            encoding: self.encoding,
        };
        let mut items = Vec::new();
        while cursor.rest.len() >= 8 {
            match cursor.item(0)? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(items)
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }
}
