//! The frames of a film, one after another: PNG files of a folder, a Y4M file, or what `ffmpeg` sends.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::y4m::Header;
use crate::{Error, Result};

/// Largest picture, pixels.
const PIXELS: u64 = 1 << 28;

/// What a file can hold by its bytes: deflate's best.
const DEFLATE_RATIO: u64 = 1032;

/// A frame's brightness, 0 to 255, x fastest.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) grey: Vec<f32>,
}

/// A film that is being read.
pub(super) struct Frames {
    path: PathBuf,
    /// Where known.
    count: Option<usize>,
    from: From,
    /// Width and height of the first frame.
    size: Option<[usize; 2]>,
}

enum From {
    Pictures(std::vec::IntoIter<PathBuf>),
    File(Header, BufReader<File>),
    Program {
        header: Header,
        out: BufReader<ChildStdout>,
        _running: Running,
    },
}

/// A program that is ended when nobody reads on.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// The PNG files of a folder, by name.
pub(super) fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::read(e, folder))? {
        let path = entry.map_err(|e| Error::read(e, folder))?.path();
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Frames {
    /// Opens a film of which at most `most` frames after those skipped are wanted.
    pub(super) fn open(path: &Path, ffmpeg: Option<&str>, most: usize) -> Result<Self> {
        let (count, from) = if path.is_dir() {
            let pictures = pictures(path)?;
            (Some(pictures.len()), From::Pictures(pictures.into_iter()))
        } else if let Some(program) = ffmpeg {
            (None, program_of(program, path, most)?)
        } else {
            let (header, mut file) = y4m_of(path)?;
            let mut count = 0;
            while header.skip(&mut file, path)? {
                count += 1;
            }
            let (header, file) = y4m_of(path)?;
            (Some(count), From::File(header, file))
        };
        Ok(Self {
            path: path.to_owned(),
            count,
            from,
            size: None,
        })
    }

    /// How many frames there are, where that is known.
    pub(super) fn count(&self) -> Option<usize> {
        self.count
    }

    /// Passes over frames.
    pub(super) fn skip(&mut self, frames: usize) -> Result<()> {
        for _ in 0..frames {
            match &mut self.from {
                From::Pictures(paths) => drop(paths.next()),
                From::File(header, from) => drop(header.skip(from, &self.path)?),
                From::Program { header, out, .. } => drop(header.skip(out, &self.path)?),
            }
        }
        Ok(())
    }

    /// Reads the next frame; false where there is none. All frames are of one size.
    pub(super) fn read(&mut self, into: &mut Frame) -> Result<bool> {
        let found = match &mut self.from {
            From::Pictures(paths) => match paths.next() {
                Some(path) => {
                    picture(&path, into)?;
                    true
                }
                None => false,
            },
            From::File(header, from) => header.frame(from, into, &self.path)?,
            From::Program { header, out, .. } => header.frame(out, into, &self.path)?,
        };
        let size = [into.width, into.height];
        let first = *self.size.get_or_insert(size);
        if found && size != first {
            return Err(Error::file(
                format!("expected frames of one size, found {first:?} and {size:?}; scale them"),
                &self.path,
            ));
        }
        Ok(found)
    }
}

fn y4m_of(path: &Path) -> Result<(Header, BufReader<File>)> {
    let file = File::open(path).map_err(|e| Error::read(e, path))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    Ok((Header::read(&mut file, path)?, file))
}

/// Starts `ffmpeg`, which sends grey frames as Y4M.
fn program_of(program: &str, path: &Path, most: usize) -> Result<From> {
    let started = Command::new(program)
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-map", "0:v:0", "-pix_fmt", "gray", "-strict", "-1"])
        .args(["-f", "yuv4mpegpipe", "-frames:v", &most.to_string(), "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.map(Running).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::file(
            format!(
                "expected the program `{program}` to read a film, found none; install ffmpeg \
                 (https://ffmpeg.org/download.html), name it with ffmpeg = \"PATH\", or give a \
                 folder of PNG frames or a .y4m file"
            ),
            path,
        ),
        _ => Error::read(e, path),
    })?;
    let unread = || {
        Error::file(
            format!("expected a film that `{program}` can read, found another file; try another"),
            path,
        )
    };
    let mut out = BufReader::with_capacity(1 << 20, child.0.stdout.take().ok_or_else(unread)?);
    let header = Header::read(&mut out, path).map_err(|_| unread())?;
    Ok(From::Program {
        header,
        out,
        _running: child,
    })
}

/// Reads a PNG file as brightness: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
fn picture(path: &Path, into: &mut Frame) -> Result<()> {
    let failed = |e: png::DecodingError| {
        Error::file(format!("expected a PNG picture: {e}; write it again"), path)
    };
    let file = File::open(path).map_err(|e| Error::read(e, path))?;
    let length = file.metadata().map_err(|e| Error::read(e, path))?.len();
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(failed)?;
    let (width, height) = reader.info().size();
    let most = PIXELS.min(8 * length.saturating_mul(DEFLATE_RATIO));
    let held = u64::from(width) * u64::from(height) <= most;
    let Some(bytes) = reader.output_buffer_size().filter(|_| held) else {
        return Err(Error::file(
            format!("expected a picture of at most {most} pixels, found {width} x {height}"),
            path,
        ));
    };
    let mut buffer = vec![0; bytes];
    let info = reader.next_frame(&mut buffer).map_err(failed)?;
    let buffer = &buffer[..info.buffer_size()];
    into.width = info.width as usize;
    into.height = info.height as usize;
    into.grey.clear();
    let samples = info.color_type.samples();
    let pixels = buffer.chunks_exact(samples);
    if samples < 3 {
        into.grey.extend(pixels.map(|p| f32::from(p[0])));
    } else {
        into.grey.extend(
            pixels.map(|p| {
                0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])
            }),
        );
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::y4m::tests::film;
    use super::*;

    pub(in super::super) fn write_grey(path: &Path, width: u32, height: u32, pixels: &[u8]) {
        write(path, width, height, png::ColorType::Grayscale, pixels);
    }

    fn write(path: &Path, width: u32, height: u32, colour: png::ColorType, pixels: &[u8]) {
        let file = File::create(path).expect("a file");
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(pixels).expect("pixels");
    }

    #[test]
    fn coloured_pictures_become_grey() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        write(
            &path,
            3,
            1,
            png::ColorType::Rgb,
            &[255, 0, 0, 0, 255, 0, 0, 0, 255],
        );
        let mut frame = Frame::default();
        picture(&path, &mut frame).expect("a picture");
        for (v, expected) in frame.grey.iter().zip([76.245, 149.685, 29.07]) {
            assert!((v - expected).abs() < 1e-3, "{:?}", frame.grey);
        }
        fs::write(&path, b"no picture").expect("written");
        assert!(picture(&path, &mut frame).is_err());
        // A header of 3.6 billion pixels and nothing behind it.
        let file = File::create(&path).expect("a file");
        let header = png::Encoder::new(file, 60_000, 60_000).write_header();
        drop(header.expect("a header"));
        assert!(picture(&path, &mut frame).is_err());
    }

    #[test]
    fn frames_of_two_sizes_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        write_grey(&folder.path().join("a.png"), 2, 1, &[1, 2]);
        write_grey(&folder.path().join("b.png"), 1, 2, &[1, 2]);
        let mut frames = Frames::open(folder.path(), None, 9).expect("a film");
        let mut frame = Frame::default();
        assert!(frames.read(&mut frame).expect("a frame"));
        let said = frames.read(&mut frame).map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("one size")));
    }

    #[test]
    fn a_y4m_file_is_counted_and_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("film.y4m");
        fs::write(&path, film(6, 4, 5)).expect("written");
        let mut frames = Frames::open(&path, None, 9).expect("a film");
        assert_eq!(frames.count(), Some(5));
        frames.skip(3).expect("skipped");
        let mut frame = Frame::default();
        assert!(frames.read(&mut frame).expect("a frame"));
        assert_eq!(frame.grey[1], 13.0);
        assert!(frames.read(&mut frame).expect("a frame"));
        assert!(!frames.read(&mut frame).expect("the end"));
    }

    /// A stand-in for `ffmpeg` that checks what it is asked and sends a film.
    #[cfg(unix)]
    #[test]
    fn other_films_come_through_a_program() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (sent, program) = (folder.path().join("sent.y4m"), folder.path().join("reader"));
        fs::write(&sent, film(6, 4, 5)).expect("written");
        let text = format!(
            "#!/bin/sh\nfor a; do [ \"$a\" = yuv4mpegpipe ] && exec cat '{}'; done\nexit 1\n",
            sent.display()
        );
        fs::write(&program, text).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let video = folder.path().join("video.mp4");
        fs::write(&video, b"film").expect("written");
        let program = program.to_str().expect("a name");
        let mut frames = Frames::open(&video, Some(program), 2).expect("a film");
        assert_eq!(frames.count(), None);
        let mut frame = Frame::default();
        assert!(frames.read(&mut frame).expect("a frame"));
        assert_eq!((frame.width, frame.grey[3]), (6, 30.0));
        // The rest is not read: the program is ended.
        drop(frames);

        fs::write(&sent, b"").expect("written");
        let said = Frames::open(&video, Some(program), 2)
            .map(|_| ())
            .map_err(|e| e.to_string());
        assert!(said.is_err_and(|e| e.contains("can read")));
        let missing = folder.path().join("missing");
        let said = Frames::open(&video, missing.to_str(), 2).map(|_| ());
        assert!(said.is_err_and(|e| e.to_string().contains("install ffmpeg")));
    }
}
