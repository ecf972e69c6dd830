//! A client as plain as can be: it shows what is really sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as text.
pub struct Request {
    text: String,
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self::with("GET", path, &[], "")
    }

    /// A JSON body.
    pub fn post(path: &str, body: &str) -> Self {
        Self::with("POST", path, &[("Content-Type", "application/json")], body)
    }

    pub fn with(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        Self { text }
    }

    /// Sends it and leaves the answer unread.
    pub fn open(&self, address: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        // A server that refuses a body early may not read all of it.
        let _ = stream.write_all(self.text.as_bytes());
        stream
    }

    pub fn send(&self, address: &str) -> Answer {
        let (status, headers, mut body) = read_head(self.open(address));
        let mut text = String::new();
        body.read_to_string(&mut text).expect("UTF-8");
        Answer {
            status,
            headers,
            body: text,
        }
    }

    pub fn stream(&self, address: &str) -> Events {
        let (status, headers, body) = read_head(self.open(address));
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        Events {
            lines: BufReader::new(body),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The object of an answer that must be good.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// The message of an answer that must be an error in OpenAI's shape.
    pub fn error(&self) -> String {
        assert!(self.status >= 400, "{}", self.body);
        let error = &self.json()["error"];
        for key in ["type", "param", "code"] {
            assert!(error.get(key).is_some(), "{key}: {error}");
        }
        error["message"].as_str().expect("a message").to_owned()
    }
}

/// Server-sent events, as a browser's `EventSource` reads them.
pub struct Events {
    lines: BufReader<Body>,
}

impl Events {
    /// The objects up to `[DONE]`, after which the stream must end.
    pub fn objects(self) -> Vec<Value> {
        let mut all: Vec<String> = self.collect();
        assert_eq!(all.pop().as_deref(), Some("[DONE]"));
        let parse = |data: String| serde_json::from_str(&data).expect("JSON");
        all.into_iter().map(parse).collect()
    }
}

impl Iterator for Events {
    type Item = String;

    /// The data of the next event.
    fn next(&mut self) -> Option<String> {
        let mut data: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("UTF-8") == 0 {
                assert!(data.is_empty(), "cut off within an event: {data:?}");
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            match line.split_once(':').unwrap_or((line, "")) {
                ("", "") if !data.is_empty() => return Some(data.join("\n")),
                ("data", value) => data.push(value.strip_prefix(' ').unwrap_or(value).into()),
                // Comments, and fields that these events do not use.
                _ => {}
            }
        }
    }
}

/// A body, whichever way it is framed.
struct Body {
    stream: BufReader<TcpStream>,
    framing: Framing,
}

enum Framing {
    /// Bytes left.
    Length(u64),
    /// Bytes left of this chunk.
    Chunked(u64),
    Ended,
}

fn read_head(stream: TcpStream) -> (u16, BTreeMap<String, String>, Body) {
    let mut stream = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    let status = line();
    let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
    let mut headers = BTreeMap::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok());
    let framing = length.map_or(Framing::Chunked(0), Framing::Length);
    let body = Body { stream, framing };
    (status.expect("a status"), headers, body)
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if let Framing::Chunked(0) = self.framing {
            let mut size = String::new();
            self.stream.read_line(&mut size)?;
            // A connection that was closed has no last chunk.
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            self.framing = match size {
                0 => Framing::Ended,
                n => Framing::Chunked(n),
            };
        }
        let left = match self.framing {
            Framing::Length(n) | Framing::Chunked(n) => n,
            Framing::Ended => return Ok(0),
        };
        let n = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = self.stream.read(&mut buf[..n])?;
        match &mut self.framing {
            Framing::Length(left) => *left -= n as u64,
            Framing::Chunked(left) => {
                *left -= n as u64;
                if *left == 0 {
                    self.stream.read_line(&mut String::new())?;
                }
            }
            Framing::Ended => {}
        }
        Ok(n)
    }
}
