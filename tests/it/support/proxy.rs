//! What may stand between Forebay and a vendor: an HTTP proxy for CONNECT, and a wire that can be cut or stopped.
//!
//! Both listen on a loopback port of their own for as long as the value lives; a dropped one closes all its
//! connections. Threads, two a connection: tests open few.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A proxy that knows CONNECT and nothing else, and remembers who was asked for.
#[derive(Debug)]
pub(crate) struct ConnectProxy {
    wire: Wire,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Connects to whoever is asked for.
    pub(crate) fn start() -> Self {
        Self::start_toward(None)
    }

    /// Connects to this address, whoever is asked for: vendors' own names can be used, and no vendor is called.
    pub(crate) fn start_toward(target: Option<SocketAddr>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&asked);
        let wire = Wire::listen(move |client| {
            let authority = read_connect(client)?;
            lock(&remember).push(authority.clone());
            let server = match target {
                Some(target) => TcpStream::connect(target),
                None => TcpStream::connect(&authority),
            };
            let answer = if server.is_ok() { "200 Connection established" } else { "502 Bad Gateway" };
            (&mut &*client).write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes())?;
            server
        });
        Self { wire, asked }
    }

    /// For `HTTPS_PROXY` and `[delivery] proxy`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.wire.address)
    }

    /// The `host:port` of each tunnel that was asked for, in order.
    pub(crate) fn tunnels(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// Closes all tunnels.
    pub(crate) fn cut(&self) {
        self.wire.cut();
    }
}

/// Reads a CONNECT request to its empty line. A client sends nothing more before the answer, so nothing is lost.
fn read_connect(client: &TcpStream) -> io::Result<String> {
    let mut lines = BufReader::new(client).lines();
    let request = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    if let ["CONNECT", authority, _] = request.split(' ').collect::<Vec<_>>()[..] {
        return Ok(authority.to_owned());
    }
    (&mut &*client).write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")?;
    Err(io::Error::other("not CONNECT"))
}

// === a wire with faults ===

/// A wire to one server that can be made to fail.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    wire: Wire,
}

impl FaultProxy {
    /// Passes everything to this server.
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self { wire: Wire::listen(move |_| TcpStream::connect(target)) }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.wire.address
    }

    /// Closes all connections, wherever they are; new ones are taken.
    pub(crate) fn cut(&self) {
        self.wire.cut();
    }

    /// Whether new connections are closed as soon as they are made.
    pub(crate) fn refuse(&self, yes: bool) {
        self.wire.state.set(|faults| faults.refuse = yes);
    }

    /// Whether nothing passes, in either direction, while all connections stand: a peer that is gone without a word.
    /// What was held back passes afterwards.
    pub(crate) fn half_open(&self, yes: bool) {
        self.wire.state.set(|faults| faults.half_open = yes);
    }

    /// How long each piece of data waits, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.wire.state.set(|faults| faults.delay = delay);
    }

    /// How many connections were made to it, refused ones included.
    pub(crate) fn connections(&self) -> u64 {
        lock(&self.wire.state.faults).connections
    }
}

// === what both are made of ===

/// A listener whose connections are joined to others.
#[derive(Debug)]
struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

/// Finds the server that a client is joined to.
type Join = dyn Fn(&TcpStream) -> io::Result<TcpStream> + Send + Sync;

/// Which connection it is, and which cut it comes after.
#[derive(Clone, Copy, Debug)]
struct Begun {
    number: u64,
    cuts: u64,
}

/// What becomes of a connection that is made.
enum Arrival {
    Last,
    Refused,
    Taken(Begun),
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<Faults>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Faults {
    ended: bool,
    refuse: bool,
    half_open: bool,
    delay: Duration,
    connections: u64,
    /// How often the wire was cut: what began before is closed.
    cuts: u64,
    /// Both ends of each connection, by its number.
    open: BTreeMap<u64, [TcpStream; 2]>,
}

impl Wire {
    /// `join` gets a client and answers with the server that it is joined to.
    fn listen(join: impl Fn(&TcpStream) -> io::Result<TcpStream> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let join = Arc::new(join);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                match shared.accept() {
                    Arrival::Last => break,
                    Arrival::Refused => {}
                    Arrival::Taken(begun) => {
                        let (shared, join) = (Arc::clone(&shared), Arc::clone(&join));
                        thread::spawn(move || drop(carry(&shared, begun, &client, &*join)));
                    }
                }
            }
        });
        Self { address, state }
    }

    fn cut(&self) {
        self.state.set(|faults| {
            faults.cuts += 1;
            for stream in std::mem::take(&mut faults.open).into_values().flatten() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.set(|faults| faults.ended = true);
        self.cut();
        // Wakes the listener, which sees that it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
        self.changed.notify_all();
    }

    fn accept(&self) -> Arrival {
        let mut faults = lock(&self.faults);
        faults.connections += 1;
        match (faults.ended, faults.refuse) {
            (true, _) => Arrival::Last,
            (false, true) => Arrival::Refused,
            (false, false) => Arrival::Taken(Begun { number: faults.connections, cuts: faults.cuts }),
        }
    }

    /// Both ends are closed at the next cut; false: it has come already.
    fn keep(&self, begun: Begun, ends: [&TcpStream; 2]) -> io::Result<bool> {
        let ends = [ends[0].try_clone()?, ends[1].try_clone()?];
        let mut faults = lock(&self.faults);
        let stands = faults.cuts == begun.cuts;
        if stands {
            faults.open.insert(begun.number, ends);
        }
        Ok(stands)
    }

    /// Waits as long as data must; false: the wire was cut meanwhile.
    fn pass(&self, cuts: u64) -> bool {
        let faults = lock(&self.faults);
        let delay = faults.delay;
        let (faults, _) = self
            .changed
            .wait_timeout_while(faults, delay, |faults| faults.cuts == cuts && !delay.is_zero())
            .unwrap_or_else(PoisonError::into_inner);
        let faults = self
            .changed
            .wait_while(faults, |faults| faults.cuts == cuts && faults.half_open)
            .unwrap_or_else(PoisonError::into_inner);
        faults.cuts == cuts
    }
}

/// One connection, until both directions have ended.
fn carry(state: &State, begun: Begun, client: &TcpStream, join: &Join) -> io::Result<()> {
    // A wire that is half open takes connections and gives nothing back, so nobody is asked for the other end yet.
    if !state.pass(begun.cuts) {
        return Ok(());
    }
    let server = join(client)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    if state.keep(begun, [client, &server])? {
        thread::scope(|scope| {
            scope.spawn(|| pump(state, begun.cuts, client, &server));
            pump(state, begun.cuts, &server, client);
        });
        lock(&state.faults).open.remove(&begun.number);
    }
    Ok(())
}

fn pump(state: &State, cuts: u64, mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        if !state.pass(cuts) || length == 0 || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // An end is passed on; the other direction goes on until it ends too.
    let _ = to.shutdown(Shutdown::Write);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
