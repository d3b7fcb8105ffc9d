//! What a request costs from the moment that it leaves its lane to the moment that its calls are settled, without Kafka.
//!
//! `cargo bench --bench delivery`: the core as the poll thread drives it, the delivery thread as the process runs it, and
//! a server on the loopback that says yes. It prints CPU time and allocations of a request, for the delivery thread and
//! for the settling on the poll thread, beside the same bytes over a bare socket: the ratio is what can be compared.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod core;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use forebay::config::{Config, load};
use forebay::delivery::http::{Client, Options};
use forebay::delivery::{Answered, Delivery, Route, answer, new};
use forebay::metrics::Metrics;

use self::core::counting::{Counting, allocations};
use self::core::{Core, ITERABLE, MOENGAGE, SMALL};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUESTS: u64 = 12_000;
/// They warm everything up.
const FIRST: u64 = 2_000;
const PORTS: usize = 4;
const CALLS: usize = 100;
/// As many as eight lanes have on the wire when the vendor is quick.
const IN_FLIGHT: usize = 16;
/// Of a request's body, and of what a bare socket sends.
const BYTES: usize = 24_000;

/// User and system time of a thread, and how often it asked for memory.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    cpu_ns: u64,
    allocations: u64,
}

impl Spent {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let cpu_ns = text.split_whitespace().next().unwrap().parse().unwrap();
        Self { cpu_ns, allocations: allocations() }
    }

    fn since(self, before: Self) -> Self {
        Self { cpu_ns: self.cpu_ns - before.cpu_ns, allocations: self.allocations - before.allocations }
    }

    /// Microseconds and allocations of a request.
    fn a_request(self) -> (f64, f64) {
        let requests = (REQUESTS - FIRST) as f64;
        (self.cpu_ns as f64 / requests / 1e3, self.allocations as f64 / requests)
    }
}

fn main() {
    // `cargo test` calls benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let ports: Vec<u16> = (0..PORTS).map(|_| serve()).collect();
    let rounds = std::env::var("FOREBAY_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(9);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (floor, _) = bare(ports[0]).a_request();
        let (delivery, settling) = forebay(&ports);
        let ((cpu, pieces), (settle, settle_pieces)) = (delivery.a_request(), settling.a_request());
        ratios.push(cpu / floor);
        println!(
            "bare socket {floor:.1} us; delivery {cpu:.1} us, {pieces:.1} allocations; \
             settling {settle:.1} us, {settle_pieces:.1} allocations"
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "delivery is {:.2} times a bare socket (median; {:.2} to {:.2})",
        ratios[rounds / 2],
        ratios[0],
        ratios[rounds - 1]
    );
}

/// The same bytes over a socket, one request after the other.
fn bare(port: u16) -> Spent {
    let head = format!("POST /api/ HTTP/1.1\r\nContent-Length: {BYTES}\r\n\r\n");
    let request = [head.as_bytes(), &vec![b'a'; BYTES]].concat();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut answer, mut first) = ([0; 4096], Spent::default());
    for count in 0..REQUESTS {
        if count == FIRST {
            first = Spent::now();
        }
        stream.write_all(&request).unwrap();
        assert!(stream.read(&mut answer).unwrap() > 0);
    }
    Spent::now().since(first)
}

/// What so many requests cost the delivery thread, and what settling them cost.
fn forebay(ports: &[u16]) -> (Spent, Spent) {
    let duration = Metrics::new(1).unwrap().request_duration("iterable");
    let routes = (0..core::TENANTS.len()).map(|account| Route {
        origin: Arc::new(format!("http://127.0.0.1:{}", ports[account % PORTS]).parse().unwrap()),
        duration: duration.clone(),
    });
    let client = Client::new(Options::new(&settings().delivery, |_| None).unwrap()).unwrap();
    let (inbox, answers) = channel();
    let count = AtomicU64::new(0);
    let (delivery, courier) = new(client, routes.collect(), move |answered| {
        let count = count.fetch_add(1, Ordering::Relaxed) + 1;
        let spent = (count == FIRST || count == REQUESTS).then(Spent::now);
        let _ending = inbox.send((answered, spent));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = thread::spawn(move || runtime.block_on(courier.run()));
    let settling = settle_all(&delivery, &answers);
    drop(delivery);
    thread.join().unwrap();
    settling
}

fn settle_all(delivery: &Delivery, answers: &Receiver<(Answered, Option<Spent>)>) -> (Spent, Spent) {
    let mut core = Core::new(CALLS);
    let (mut out, mut back) = (0, 0);
    let (mut sending, mut settling) = (Vec::new(), Spent::default());
    while back < REQUESTS || out > 0 {
        while back + out < REQUESTS && out < IN_FLIGHT as u64 {
            core.record(SMALL);
            out += send(&mut core, delivery);
        }
        let mut next = answers.recv_timeout(Duration::from_secs(5)).ok();
        while let Some((Answered { flight, result }, spent)) = next {
            (out, back) = (out - 1, back + 1);
            sending.extend(spent);
            let (began, before) = (Instant::now(), allocations());
            core.answered(flight, answer(result.as_ref().unwrap()));
            if back > FIRST && back <= REQUESTS {
                settling.cpu_ns += u64::try_from(began.elapsed().as_nanos()).unwrap();
                settling.allocations += allocations() - before;
            }
            out += send(&mut core, delivery);
            next = answers.try_recv().ok();
        }
    }
    core.flush();
    (sending[1].since(sending[0]), settling)
}

/// Hands over what may go; how many requests that were.
fn send(core: &mut Core, delivery: &Delivery) -> u64 {
    let mut count = 0;
    core.take_requests(|flight| {
        count += 1;
        delivery.send(flight).unwrap();
    });
    count
}

fn settings() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, core::text(CALLS)).unwrap();
    load(&path).unwrap().config
}

/// A server that says yes; its port.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || say_yes(stream));
        }
    });
    port
}

/// Until the client goes away.
fn say_yes(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answers = [ITERABLE, MOENGAGE].map(|body| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    });
    let (mut buffer, mut filled) = (vec![0; 1 << 20], 0);
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if filled == end + 4 + length {
            let is_moengage = head.contains("transition");
            stream.write_all(&answers[usize::from(is_moengage)])?;
            filled = 0;
        }
    }
}
