//! Pages on runs, the viewer, pictures, completions.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crossmod_volume::io::{self, Storage};
use crossmod_volume::{Grid, Image, Labels};
use serde_json::json;

use crate::trial::{Said, Trial};

/// A run that was validated on two balls, and the balls: `a` found well, `b` badly.
fn trial() -> Trial {
    let trial = Trial::new();
    trial.write_text("run/recipe.toml", "kind = \"segment\"\n");
    let rows: Vec<String> = (0..50)
        .map(|step| {
            let row = json!({"step": step, "epoch": 1, "learning_rate": 0.01, "seconds": step,
                "losses": {"segmentation": 1.0 / f64::from(step + 1), "guard_change": 0.004}});
            row.to_string()
        })
        .collect();
    trial.write_text("run/log.jsonl", &(rows.join("\n") + "\n"));
    let grid = Grid::with_spacing([32, 30, 28], [1.0, 1.0, 2.0]).expect("a grid");
    let ball = |radius: f64| -> Vec<u16> {
        let inside = |i: usize| {
            let [x, y, z] = [i % 32, i / 32 % 30, i / 960].map(|v| v as f64 - 14.0);
            u16::from(x * x + y * y + 4.0 * z * z <= radius * radius)
        };
        (0..grid.len()).map(inside).collect()
    };
    for folder in ["images", "truth", "found"] {
        std::fs::create_dir_all(trial.path(folder)).expect("a writable folder");
    }
    for (case, radius) in [("a", 9.0), ("b", 4.0)] {
        let bright = ball(10.0).into_iter().map(|v| 40.0 * f32::from(v) + 3.5);
        let image = Image::new(grid.clone(), bright.collect()).expect("an image");
        let path = trial.path(&format!("images/{case}_0000.nii.gz"));
        io::write_image(&path, &image, &Storage::default()).expect("written");
        for (folder, radius) in [("truth", 10.0), ("found", radius)] {
            let labels = Labels::new(grid.clone(), ball(radius)).expect("labels");
            let path = trial.path(&format!("{folder}/{case}.nii.gz"));
            io::write_labels(&path, &labels).expect("written");
        }
    }
    trial
}

const REPORT: &str = "report run --predictions found --truth truth --images images";

#[test]
fn a_report_has_numbers_cases_curves_and_the_way_back() {
    let trial = trial();
    let said = trial.run(&format!("{REPORT} --json")).exits(0);
    assert_eq!(said.json()["report"], "run/report.html");
    let page = std::fs::read_to_string(trial.path("run/report.html")).expect("a page");
    for text in [
        "\"case\":\"b\"",
        "id=\"volume-5\"",
        "id=\"niivue\"",
        "\"segmentation\"",
        "kind = &quot;segment&quot;",
        "id=\"agreement\"",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    let small = trial.run(&format!("{REPORT} --no-viewer --cases 1 --out small.html"));
    small.exits(0);
    let small = std::fs::read_to_string(trial.path("small.html")).expect("a page");
    assert!(!small.contains("id=\"niivue\"") && small.len() < page.len() / 4);
    trial
        .run(&format!("{REPORT} --beside --out p/r.html"))
        .exits(0);
    assert!(trial.path("p/volumes/a-truth.js").is_file());
}

#[test]
fn guards_are_judged_and_curves_given_to_tensorboard() {
    let trial = trial();
    trial
        .run("report run --no-viewer --tensorboard events")
        .exits(0);
    let page = std::fs::read_to_string(trial.path("run/report.html")).expect("a page");
    assert!(page.contains("id=\"h-guards\"") && page.contains("<td>bad</td>"));
    let files = std::fs::read_dir(trial.path("events/run")).expect("a folder of events");
    let files: Vec<_> = files.map(|f| f.expect("a file").path()).collect();
    assert_eq!(files.len(), 1);
    let events = std::fs::read(&files[0]).expect("events");
    let tags = events.windows(12).filter(|w| *w == b"segmentation");
    assert_eq!(tags.count(), 50);
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let trial = trial();
    for (arguments, code, part) in [
        ("report none", 1, "none"),
        (
            "report run --predictions found --predictions found --truth truth",
            2,
            "found 2",
        ),
        ("report run --truth truth", 2, "--predictions"),
        (
            "report run --predictions nowhere --truth truth",
            1,
            "nowhere",
        ),
        ("view none.nii.gz --no-open", 1, "none.nii.gz"),
        (
            "info images/a_0000.nii.gz images/b_0000.nii.gz --png x.png",
            2,
            "one FILE",
        ),
        ("shell", 2, "--man"),
    ] {
        let said = trial.run(arguments).exits(code);
        assert!(said.stderr.contains(part), "{arguments}: {said:?}");
    }
}

#[test]
fn volumes_are_drawn_and_commands_completed() {
    let trial = trial();
    trial
        .run("info images/a_0000.nii.gz --png a.png --labels truth/a.nii.gz")
        .exits(0);
    let picture = std::fs::read(trial.path("a.png")).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG"));
    let said = trial.run("shell bash").exits(0);
    assert!(said.stdout.contains("_crossmod") && said.stdout.contains("evaluate"));
    trial.run("shell --man man").exits(0);
    assert!(trial.path("man/crossmod-report.1").is_file());
}

/// A viewer that runs until it is dropped.
struct Viewer {
    child: Child,
    url: String,
}

impl Viewer {
    fn start(trial: &Trial) -> Self {
        let arguments = "view images/a_0000.nii.gz --labels truth/a.nii.gz --no-open -q";
        let mut command = trial.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let out = child.stdout.take().expect("its output");
        let mut url = String::new();
        BufReader::new(out)
            .read_line(&mut url)
            .expect("its address");
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let address = self.url.strip_prefix("http://").expect("an address");
        let (host, _) = address.split_once('/').expect("a token");
        let mut stream = TcpStream::connect(host).expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    }

    fn token(&self) -> &str {
        let path = self.url.splitn(4, '/').nth(3).expect("a token");
        path.trim_end_matches('/')
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_viewer_gives_its_page_and_volumes_to_who_has_the_token() {
    let trial = trial();
    let viewer = Viewer::start(&trial);
    assert!(
        viewer.url.starts_with("http://127.0.0.1:"),
        "{}",
        viewer.url
    );
    let token = viewer.token();
    assert_eq!(token.len(), 32);
    let page = viewer.get(&format!("/{token}/"));
    let page = String::from_utf8_lossy(&page);
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("image-0.nii.gz"));
    let volume = viewer.get(&format!("/{token}/labels-0.nii.gz"));
    assert!(volume.windows(2).any(|two| two == [0x1f, 0x8b]));
    for wrong in [
        "/",
        "/image-0.nii.gz",
        &format!("/{token}/../run/recipe.toml"),
    ] {
        assert!(viewer.get(wrong).starts_with(b"HTTP/1.1 404"), "{wrong}");
    }
}

/// In a real browser, where `CROSSMOD_TEST_BROWSER` names a Chromium (`crates/report/install-browser.sh`
/// installs one): nothing fails, charts and slices are drawn, and the viewer shows the worst case.
#[test]
fn pages_work_in_a_browser() {
    let Some(browser) = std::env::var_os("CROSSMOD_TEST_BROWSER") else {
        println!("skipped: CROSSMOD_TEST_BROWSER is not set");
        return;
    };
    let trial = trial();
    trial.run(REPORT).exits(0);
    let viewer = Viewer::start(&trial);
    let file = format!("file://{}", trial.path("run/report.html").display());
    for (url, case) in [(&file, "b"), (&viewer.url, "a_0000")] {
        let output = Command::new(&browser)
            .args(["--headless=new", "--no-sandbox", "--use-angle=swiftshader"])
            .args(["--enable-unsafe-swiftshader", "--virtual-time-budget=60000"])
            .args(["--enable-logging=stderr", "--dump-dom", url])
            .output();
        let said = Said::from(output.expect("the browser starts"));
        let dom = &said.stdout;
        assert!(
            !said.stderr.contains("Uncaught") && !said.stderr.contains("Refused to"),
            "{}",
            said.stderr
        );
        assert!(
            dom.contains(&format!("data-shows=\"{case}\"")),
            "{url}: {}",
            said.stderr
        );
        if url == &viewer.url {
            let (tinted, all) = tinted(&browser, url, &trial.path("page.png"));
            assert!(
                tinted > 500 && tinted < all / 5,
                "{tinted} of {all} pixels have a label's colour"
            );
        }
        if url == &file {
            assert!(dom.matches("<svg").count() >= 3, "three charts");
            assert!(dom.contains("Slices of b with predictions and truth"));
        }
    }
    let page = std::fs::read_to_string(trial.path("run/report.html")).expect("a page");
    let click = "<script>addEventListener('load', () => \
                 document.querySelector('[data-case=\"a\"] button').click())</script></body>";
    trial.write_text("run/click.html", &page.replace("</body>", click));
    let clicked = format!("file://{}", trial.path("run/click.html").display());
    let output = browse(&browser, &["--dump-dom"], &clicked);
    assert!(output.contains("Slices of a with predictions and truth"));
    let picture = trial.path("dark.png");
    let dark = format!("--screenshot={}", picture.display());
    let setting = "--blink-settings=preferredColorScheme=0";
    browse(&browser, &["--force-dark-mode", setting, &dark], &file);
    let pixels = colours(&picture);
    assert!(pixels[0].iter().all(|v| *v < 64), "{:?}", pixels[0]);
    let printed = trial.path("report.pdf");
    browse(
        &browser,
        &[&format!("--print-to-pdf={}", printed.display())],
        &file,
    );
    let pdf = std::fs::read(printed).expect("a PDF");
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000);
}

/// What the browser prints of a page.
fn browse(browser: &std::ffi::OsStr, arguments: &[&str], url: &str) -> String {
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--use-angle=swiftshader"])
        .args(["--enable-unsafe-swiftshader", "--virtual-time-budget=60000"])
        .args(["--window-size=1000,1000", "--hide-scrollbars"])
        .args(arguments)
        .arg(url)
        .output();
    let said = Said::from(output.expect("the browser starts"));
    said.exits(0).stdout
}

/// The pixels of a picture: red, green, blue.
fn colours(picture: &std::path::Path) -> Vec<[u8; 3]> {
    let file = std::fs::File::open(picture).expect("a picture");
    let mut reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    let samples = info.color_type.samples();
    let pixels = pixels[..info.buffer_size()].chunks_exact(samples);
    pixels.map(|p| [p[0], p[1], p[2]]).collect()
}

/// Of a picture of a page: how many pixels have a warm colour as the first label and the crosshair have,
/// and how many there are.
fn tinted(browser: &std::ffi::OsStr, url: &str, to: &std::path::Path) -> (usize, usize) {
    browse(browser, &[&format!("--screenshot={}", to.display())], url);
    let pixels = colours(to);
    let warm = |p: &&[u8; 3]| i32::from(p[0]) > i32::from(p[2]) + 25;
    (pixels.iter().filter(warm).count(), pixels.len())
}
