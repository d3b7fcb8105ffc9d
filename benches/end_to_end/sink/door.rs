//! Connections of the sink: HTTP/1.1, kept alive, a thread each; requests with a `Content-Length`, as Forebay sends them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use memchr::memmem;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tally::{self, Request};

/// Before the number of each element.
const MARK: &[u8] = br#""seq":""#;
const DIGITS: usize = 16;

const MOENGAGE: &str = r#"{"status":"success","message":"Your request has been accepted and will be processed soon."}"#;
/// Behind `{"successCount":100`.
const ITERABLE: &str = r#","failCount":0,"invalidEmails":[],"invalidUserIds":[],"disallowedEventNames":[],"filteredOutFields":[],"createdFields":[],"failedUpdates":{"invalidEmails":[],"invalidUserIds":[],"notFoundEmails":[],"notFoundUserIds":[],"forgottenEmails":[],"forgottenUserIds":[]}}"#;

/// What a server needs for TLS, from PEM files.
pub(super) fn tls(certificate: &str, key: &str) -> Arc<ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(certificates, key).unwrap())
}

/// Listens on a port of the kernel's choice.
pub(super) fn open(tls: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            // There may be a thousand of them.
            let small = thread::Builder::new().stack_size(256 * 1024);
            small.spawn(move || serve(stream, tls)).expect("a thread");
        }
    });
    port
}

/// A client that goes away is no error.
fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => Connection::new(stream).serve(),
        Some(tls) => {
            let server = ServerConnection::new(tls).map_err(io::Error::other)?;
            Connection::new(StreamOwned::new(server, stream)).serve()
        }
    }
}

struct Connection<S> {
    stream: S,
    /// What was read, up to `filled`.
    buffer: Vec<u8>,
    filled: usize,
    seqs: Vec<u64>,
}

impl<S: Read + Write> Connection<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; 64 * 1024], filled: 0, seqs: Vec::new() }
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            if self.filled == 0 {
                self.read()?;
            }
            let began = Instant::now();
            let head = loop {
                match memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                    Some(end) => break end + 4,
                    None => self.read()?,
                }
            };
            let (is_iterable, length) = read_head(&self.buffer[..head])?;
            let whole = head + length;
            if self.buffer.len() < whole {
                self.buffer.resize(whole, 0);
            }
            while self.filled < whole {
                self.read()?;
            }
            tally::came();
            find_seqs(&self.buffer[head..whole], &mut self.seqs);
            let answer = answer(is_iterable, self.seqs.len());
            self.stream.write_all(answer.as_bytes())?;
            self.stream.flush()?;
            tally::answered(&Request { began, bytes: length, seqs: &self.seqs });
            self.buffer.copy_within(whole..self.filled, 0);
            self.filled -= whole;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Whether it is Iterable's, and how long the body is.
fn read_head(head: &[u8]) -> io::Result<(bool, usize)> {
    let head = str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let is_iterable = lines.next().is_some_and(|request| request.contains("/api/"));
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.trim().parse().ok());
    Ok((is_iterable, length.ok_or_else(|| io::Error::other("no length"))?))
}

fn find_seqs(body: &[u8], into: &mut Vec<u64>) {
    into.clear();
    for at in memmem::find_iter(body, MARK) {
        let digits = &body[at + MARK.len()..at + MARK.len() + DIGITS];
        into.push(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
    }
}

fn answer(is_iterable: bool, count: usize) -> String {
    let counted;
    let body = if is_iterable {
        counted = format!(r#"{{"successCount":{count}{ITERABLE}"#);
        &counted
    } else {
        MOENGAGE
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
