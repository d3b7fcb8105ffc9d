//! A webhook's receiver: takes requests over real sockets, keeps what it got, and answers as a test says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The status that it was answered with.
    pub(crate) status: u16,
}

/// What a request is answered with: status, header lines, body.
pub(crate) type Reply = (u16, &'static str, Vec<u8>);

/// It listens until the tests end.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// `reply` gets the number of the request, from zero, and its body.
    pub(crate) fn start(reply: impl Fn(usize, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = Self { address, received: Arc::default() };
        let (shared, reply) = (receiver.clone(), Arc::new(reply));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, reply) = (shared.clone(), Arc::clone(&reply));
                thread::spawn(move || drop(shared.serve(client, &*reply)));
            }
        });
        receiver
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One connection, until it is closed.
    fn serve(&self, mut client: TcpStream, reply: &dyn Fn(usize, &[u8]) -> Reply) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut headers = BTreeMap::new();
            loop {
                line.clear();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let (status, more, answer) = {
                let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
                let reply = reply(received.len(), &body);
                received.push(Received { path, headers, body, status: reply.0 });
                reply
            };
            write!(client, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}\r\n", answer.len())?;
            client.write_all(&answer)?;
        }
    }
}
