//! Run lengths: DICOM PS3.5, annex G.
//!
//! A frame is one segment for each byte of its samples, the highest first.

use super::element::Told;

/// The samples of a frame of `pixels` samples of `width` bytes, little endian.
pub(super) fn decode(bytes: &[u8], pixels: usize, width: usize) -> Told<Vec<u8>> {
    let damaged = |what: &str| format!("expected run lengths, found {what}; fetch the file again");
    let header: Vec<usize> = bytes
        .get(..64)
        .unwrap_or_default()
        .as_chunks()
        .0
        .iter()
        .map(|&b| u32::from_le_bytes(b) as usize)
        .collect();
    let Some((&segments, offsets)) = header.split_first() else {
        return Err(damaged("no header"));
    };
    if segments != width {
        return Err(format!(
            "expected {width} segments of run lengths, one for each byte of a sample, found \
             {segments}"
        ));
    }
    // A run of 128 takes two bytes.
    if pixels / 64 > bytes.len() {
        return Err(damaged("too few of them for the frame"));
    }
    let mut samples = vec![0; pixels * width];
    for (i, &start) in offsets[..width].iter().enumerate() {
        let end = offsets
            .get(i + 1)
            .copied()
            .filter(|&end| i + 1 < width && end > start)
            .unwrap_or(bytes.len());
        let segment = bytes
            .get(start..end)
            .ok_or_else(|| damaged("a segment beyond the end"))?;
        // Segment 0 is the highest byte.
        let mut places = samples.iter_mut().skip(width - 1 - i).step_by(width);
        if !expand(segment, &mut places) {
            return Err(damaged("too few of them for the frame"));
        }
    }
    Ok(samples)
}

/// Fills all places; whether the segment was long enough.
fn expand<'a>(mut segment: &[u8], places: &mut impl Iterator<Item = &'a mut u8>) -> bool {
    let mut next = places.next();
    while let (Some(_), Some((&control, rest))) = (&next, segment.split_first()) {
        let control = control as i8;
        let (bytes, repeat, used) = match control {
            -128 => (&rest[..0], 0, 0),
            0.. => {
                let n = (control as usize + 1).min(rest.len());
                (&rest[..n], 1, n)
            }
            _ => {
                let n = 1.min(rest.len());
                (&rest[..n], 1 - isize::from(control), n)
            }
        };
        for &byte in bytes {
            for _ in 0..repeat {
                let Some(place) = next else { return true };
                *place = byte;
                next = places.next();
            }
        }
        segment = &rest[used..];
    }
    next.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut offset = 64;
        let mut bytes = (segments.len() as u32).to_le_bytes().to_vec();
        for segment in segments {
            bytes.extend(u32::to_le_bytes(offset));
            offset += segment.len() as u32;
        }
        bytes.resize(64, 0);
        bytes.extend(segments.concat());
        bytes
    }

    /// The example of the annex's method: literal runs, repeats and the code that means nothing.
    #[test]
    fn runs_and_literals_make_samples() {
        let high = [0xfd, 1, 0x80, 0x00, 2];
        let low = [0x04, 9, 8, 7, 6, 5];
        let samples = decode(&frame(&[&high, &low]), 5, 2).expect("a frame");
        assert_eq!(samples, [9, 1, 8, 1, 7, 1, 6, 1, 5, 2]);
    }

    #[test]
    fn damage_is_refused() {
        let whole = frame(&[&[0x04, 9, 8, 7, 6, 5]]);
        assert!(decode(&whole, 5, 1).is_ok());
        assert!(decode(&whole, 6, 1).is_err());
        assert!(decode(&whole, 5, 2).is_err());
        assert!(decode(&whole[..60], 5, 1).is_err());
        assert!(decode(&whole[..67], 5, 1).is_err());
        assert!(decode(&frame(&[&[0x81, 1]]), usize::MAX / 4, 1).is_err());
    }
}
