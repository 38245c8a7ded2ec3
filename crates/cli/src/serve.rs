//! Files in memory, given to a browser on this machine and to nobody else.
//!
//! The server listens on the loopback address alone. Every address begins with a random token, without
//! which there is nothing, so that other users and pages of other sites cannot guess it; requests that
//! name another host are refused, so that a name that points here (DNS rebinding) does not help either.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tiny_http::{Header, Method, Request, Response, Server};

/// What may be asked for, by its name after the token; `index.html` is the empty name.
pub(crate) type Files = BTreeMap<String, File>;

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its media type.
    pub(crate) media: &'static str,
    /// Its content.
    pub(crate) bytes: Vec<u8>,
}

/// What a browser may do with the page: run what is in it, and ask this server for volumes.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; \
                      style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self' data: blob:; \
                      worker-src blob:; base-uri 'none'; form-action 'none'";

/// A server that is listening.
pub(crate) struct Loopback {
    server: Server,
    port: u16,
    token: String,
}

impl Loopback {
    /// Listens on a port; on any free one where it is 0.
    pub(crate) fn listen(port: u16) -> anyhow::Result<Self> {
        let server = Server::http(("127.0.0.1", port))
            .map_err(|e| anyhow::anyhow!("{e}"))
            .with_context(|| {
                format!("could not listen on port {port} of 127.0.0.1; choose another --port")
            })?;
        let address = server.server_addr().to_ip();
        let port = address
            .context("expected an IP address to listen on")?
            .port();
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|e| anyhow::anyhow!("could not get random numbers from the system: {e}"))?;
        let token = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            server,
            port,
            token,
        })
    }

    /// The address to open.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Answers until the program ends.
    pub(crate) fn serve(&self, files: &Files) -> anyhow::Result<()> {
        loop {
            let request = self.server.recv().context("could not go on listening")?;
            let host = request.headers().iter().find(|h| h.field.equiv("Host"));
            let host = host.map_or("", |h| h.value.as_str());
            let answer = answer(
                files,
                &Asked {
                    method: request.method(),
                    url: request.url(),
                    host,
                },
                self.port,
                &self.token,
            );
            respond(request, answer);
        }
    }
}

/// What a request says.
struct Asked<'a> {
    method: &'a Method,
    url: &'a str,
    host: &'a str,
}

/// The file, or the status of a refusal.
fn answer<'f>(files: &'f Files, asked: &Asked, port: u16, token: &str) -> Result<&'f File, u16> {
    if ![format!("127.0.0.1:{port}"), format!("localhost:{port}")].contains(&asked.host.to_owned())
    {
        return Err(403);
    }
    if !matches!(asked.method, Method::Get | Method::Head) {
        return Err(405);
    }
    let path = asked.url.split(['?', '#']).next().unwrap_or_default();
    let name = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(token))
        .and_then(|path| path.strip_prefix('/'));
    name.and_then(|name| files.get(name)).ok_or(404)
}

fn respond(request: Request, answer: Result<&File, u16>) {
    let header = |name: &str, value: &str| Header::from_bytes(name, value).ok();
    let outcome = match answer {
        Ok(file) => {
            let mut response = Response::from_data(file.bytes.as_slice());
            for (name, value) in [
                ("Content-Type", file.media),
                ("Content-Security-Policy", POLICY),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
            ] {
                if let Some(header) = header(name, value) {
                    response.add_header(header);
                }
            }
            request.respond(response)
        }
        Err(status) => request.respond(Response::empty(status)),
    };
    // A browser that has gone away needs no answer.
    drop(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_with_the_token_gets_the_files() {
        let file = File {
            media: "text/plain",
            bytes: b"hello".to_vec(),
        };
        let files = Files::from([(String::new(), file.clone()), ("a.nii.gz".into(), file)]);
        let ask = |method: Method, host: &str, url: &str| {
            let asked = Asked {
                method: &method,
                url,
                host,
            };
            answer(&files, &asked, 80, "abc").map(|_| 200)
        };
        let here = "127.0.0.1:80";
        assert_eq!(ask(Method::Get, here, "/abc/"), Ok(200));
        assert_eq!(
            ask(Method::Head, "localhost:80", "/abc/a.nii.gz?x"),
            Ok(200)
        );
        for wrong in [
            "/",
            "/abc",
            "/abd/",
            "/abc/../etc/passwd",
            "/abc/%2e%2e/passwd",
            "/abc/b",
            "abc/",
            "",
        ] {
            assert_eq!(ask(Method::Get, here, wrong), Err(404), "{wrong}");
        }
        for host in [
            "example.org",
            "127.0.0.1",
            "127.0.0.1:81",
            "example.org:80",
            "",
        ] {
            assert_eq!(ask(Method::Get, host, "/abc/"), Err(403), "{host}");
        }
        assert_eq!(ask(Method::Post, here, "/abc/"), Err(405));
    }

    /// Over a real connection: the page with the token, nothing without.
    #[test]
    fn it_answers_on_the_loopback_address() {
        use std::io::{Read as _, Write as _};
        let server = Loopback::listen(0).expect("a free port");
        let (port, url) = (server.port, server.url());
        let path = url
            .strip_prefix(&format!("http://127.0.0.1:{port}"))
            .expect("the address");
        let path = path.to_owned();
        std::thread::spawn(move || {
            let file = File {
                media: "text/plain",
                bytes: b"hello".to_vec(),
            };
            let _ = server.serve(&Files::from([(String::new(), file)]));
        });
        let get = |path: &str| {
            let mut stream =
                std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).expect("sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer");
            text
        };
        let page = get(&path);
        assert!(
            page.starts_with("HTTP/1.1 200") && page.ends_with("hello"),
            "{page}"
        );
        assert!(page.contains("default-src 'none'"));
        assert!(get("/").starts_with("HTTP/1.1 404"));
    }
}
