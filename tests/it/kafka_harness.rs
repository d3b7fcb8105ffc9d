//! The harness does what the other tests believe of it.

use std::collections::{BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::support::config::{ConfigText, accounts, sandbox_accounts, tenants};
use crate::support::events::{Event, Events, Kind};
use crate::support::kafka::{Committed, Compression, Kafka, Message, Record};
use crate::support::process::{admin_of, http_get};
use crate::support::proxy::{ConnectProxy, FaultProxy};
use crate::support::tls::Certificates;
use crate::support::{eventually, metrics, unique};

const SOON: Duration = Duration::from_secs(10);

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|r| str::from_utf8(r.value.as_deref().unwrap_or_default()).unwrap_or_default()).collect()
}

#[test]
fn records_come_back_as_they_were_produced() {
    let kafka = Kafka::shared();
    let topic = unique("round-trip");
    kafka.create_topic(&topic, 2, &[("retention.ms", "-1")]);
    let first = Message::new("one").key("k").header("tenant", "acme").header("tenant", "b").partition(1).timestamp(5);
    let mut second = Message::tombstone().partition(1);
    second.headers.push(("empty".to_owned(), None));
    let third = Message::new("").partition(0);
    assert_eq!(kafka.produce(&topic, [first.clone(), second.clone(), third.clone()]), 3);

    let records = kafka.consume_all(&topic);
    let back = |record: &Record| Message {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        partition: Some(record.partition),
        timestamp: None,
    };
    let without_time = |message: Message| Message { timestamp: None, ..message };
    assert_eq!(records.iter().map(back).collect::<Vec<_>>(), [third, without_time(first), without_time(second)]);
    assert_eq!(records[1].timestamp, Some(5));
    assert_eq!(records[1].header("tenant"), Some("acme"));
    assert_eq!(kafka.end_offsets(&topic).into_iter().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    assert!(kafka.committed("nobody", &topic).is_empty());
    kafka.delete_topic(&topic);
}

#[test]
fn all_codecs_are_read_back() {
    let kafka = Kafka::shared();
    let topic = unique("codecs");
    kafka.create_topic(&topic, 1, &[]);
    for codec in Compression::ALL {
        kafka.produce_with(&topic, codec, (0..1000).map(|n| Message::new(format!("{} {n}", codec.name()))));
    }
    assert_eq!(kafka.consume_all(&topic).len(), 5000);
}

#[test]
fn the_console_producer_writes_headers_and_keys() {
    let kafka = Kafka::shared();
    let topic = unique("console");
    kafka.create_topic(&topic, 1, &[]);
    let events: Vec<_> = Events::new(7, &tenants(3)).take(500).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, events.iter().map(Event::console_line).collect::<String>()).expect("a file");
    kafka.console_producer(&topic, Compression::Lz4, file.path());

    let records = kafka.consume_all(&topic);
    assert_eq!(texts(&records), events.iter().map(|event| event.json.as_str()).collect::<Vec<_>>());
    for (record, event) in records.iter().zip(&events) {
        assert_eq!(record.header("tenant"), Some(event.tenant.as_str()));
        assert_eq!(record.key.as_deref(), Some(event.user_id.as_bytes()));
    }
}

#[test]
fn a_broker_of_ones_own_keeps_its_data_over_sigkill() {
    let kafka = Kafka::own_stopped();
    assert!(std::net::TcpStream::connect(kafka.bootstrap()).is_err(), "nobody listens before the start");
    kafka.start();
    kafka.create_topic("events", 1, &[]);
    kafka.produce("events", [Message::new("one"), Message::new("two")]);
    kafka.stop();
    assert!(std::net::TcpStream::connect(kafka.bootstrap()).is_err(), "nobody listens after the stop");
    kafka.start();
    kafka.produce("events", [Message::new("three")]);
    assert_eq!(texts(&kafka.consume_all("events")), ["one", "two", "three"]);
}

#[test]
fn commits_are_seen_with_their_metadata() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::{Offset, TopicPartitionList};

    let kafka = Kafka::shared();
    let (topic, group) = (unique("commits"), unique("group"));
    kafka.create_topic(&topic, 2, &[]);
    kafka.produce(&topic, [Message::new("one").partition(1)]);
    let consumer: BaseConsumer = kafka.client().set("group.id", &group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(&topic, 1);
    element.set_offset(Offset::Offset(1)).expect("an offset");
    element.set_metadata("1;x");
    consumer.commit(&list, CommitMode::Sync).expect("a commit");

    kafka.wait_committed_to_end(&group, &topic, Duration::from_secs(10));
    let committed = kafka.committed(&group, &topic);
    assert_eq!(committed, [(1, Committed { offset: 1, metadata: "1;x".to_owned() })].into());
}

/// Not a test: holds a broker of its own until it is killed by the test below.
#[test]
#[ignore = "run by a_killed_test_process_leaves_no_broker_behind, in a process of its own"]
fn holds_a_broker() {
    let kafka = Kafka::own();
    println!("\nbroker {}", kafka.bootstrap());
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_killed_test_process_leaves_no_broker_behind() {
    let mut holder = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", "kafka_harness::holds_a_broker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tests' binary starts");
    let mut lines = BufReader::new(holder.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("broker "));
    let address = line.as_deref().and_then(|line| line.strip_prefix("broker ")).expect("an address").to_owned();
    TcpStream::connect(&address).expect("the broker listens");
    holder.kill().expect("it can be killed");
    holder.wait().expect("it ends");
    eventually(SOON, "the end of the broker", || match TcpStream::connect(&address) {
        Ok(_) => Err("it listens".to_owned()),
        Err(_) => Ok(()),
    });
}

#[test]
fn events_are_json_of_the_size_asked_for_and_known_by_their_ids() {
    let events: Vec<_> = Events::new(1, &tenants(5)).take(2000).collect();
    assert_eq!(events.iter().map(|event| &event.message_id).collect::<HashSet<_>>().len(), 2000);
    for event in &events {
        let json: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
        let (field, kind) = if event.kind == Kind::Track { ("properties", "track") } else { ("traits", "identify") };
        assert_eq!(json["type"], kind);
        assert_eq!(json["messageId"], event.message_id.as_str());
        assert_eq!(json[field]["message_id"], event.message_id.as_str());
        assert_eq!(json["userId"], event.user_id.as_str());
        assert!((300..=3000).contains(&event.json.len()), "{} bytes: {}", event.json.len(), event.json);
    }
    let sizes = events.iter().map(|event| event.json.len() / 500).collect::<BTreeSet<_>>();
    assert!((0..=5).all(|size| sizes.contains(&size)), "all sizes: {sizes:?}");
    let tracks = events.iter().filter(|event| event.kind == Kind::Track).count();
    assert!((1500..1700).contains(&tracks), "{tracks} of 2000 are track");
}

#[test]
fn configurations_are_toml_and_name_their_keys_files() {
    let kafka = Kafka::shared();
    let mut accounts = accounts(&tenants(8));
    accounts[0].settings = "limits.users_per_minute = 600".to_owned();
    let config = ConfigText::new(kafka, "events", "http://127.0.0.1:1/", &accounts)
        .property("fetch.wait.max.ms", "10")
        .section("[delivery]\nlinger = \"10ms\"");
    let toml: toml::Table = config.text().parse().expect("TOML");
    assert_eq!(toml["accounts"]["t00-moengage"]["limits"]["users_per_minute"].as_integer(), Some(600));
    assert_eq!(toml["accounts"]["t07-moengage"]["base_url"].as_str(), Some("http://127.0.0.1:1/moengage/01"));
    assert_eq!(toml["accounts"]["t01-iterable"]["base_url"].as_str(), Some("http://127.0.0.1:1/iterable/eu"));
    let file = toml["accounts"]["t01-iterable"]["iterable"]["keys"][0]["file"].as_str().expect("a file");
    let key = std::fs::read_to_string(config.setup().path(file)).expect("the key's file");
    assert_eq!(key.trim_end(), accounts[3].key);
    let sandbox: toml::Table = sandbox_accounts(&accounts).parse().expect("TOML");
    assert_eq!(sandbox["accounts"]["t01-iterable"]["iterable"]["keys"][0].as_str(), Some(accounts[3].key.as_str()));
}

#[test]
fn metrics_are_read_with_labels_escapes_and_times() {
    let text = "# HELP a_total help\n# TYPE a_total counter\na_total{tenant=\"x\",why=\"a \\\"b\\\", {c}\\\\\"} 2\n\
                a_total{tenant=\"y\",why=\"\"} 3 1700000000000\nplain 1.5e3\nbucket{le=\"+Inf\",} +Inf\n\n";
    let samples = metrics::parse(text);
    assert_eq!(samples.len(), 4);
    assert_eq!(samples[0].labels["why"], "a \"b\", {c}\\");
    assert_eq!(metrics::sum(&samples, "a_total", &[]), Some(5.0));
    assert_eq!(metrics::sum(&samples, "a_total", &[("tenant", "y")]), Some(3.0));
    assert_eq!(metrics::sum(&samples, "a_total", &[("tenant", "z")]), None);
    assert_eq!(metrics::sum(&samples, "plain", &[]), Some(1500.0));
    assert_eq!(metrics::sum(&samples, "bucket", &[("le", "+Inf")]), Some(f64::INFINITY));
}

#[test]
fn the_admin_address_is_found_in_logs_of_any_form() {
    let address = "127.0.0.1:4321".parse().ok();
    assert_eq!(admin_of(r#"{"message":"admin listening","admin":"127.0.0.1:4321"}"#), address);
    assert_eq!(admin_of(r#"{"fields":{"admin":"127.0.0.1:4321"},"level":"INFO"}"#), address);
    assert_eq!(admin_of("2026-11-20 INFO admin listening admin=127.0.0.1:4321 x=1"), address);
    assert_eq!(admin_of(r#"{"message":"admin=127.0.0.1:4321"}"#), None);
    assert_eq!(admin_of("no admin here"), None);
}

/// Answers each connection's first bytes with `HTTP/1.0 200` and these bytes, and ends it.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut piece = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    let _ =
                        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").and_then(|()| stream.write_all(&piece[..length]));
                    if piece.starts_with(b"GET /once") {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn talk(stream: &mut TcpStream, timeout: Duration) -> std::io::Result<usize> {
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"hello")?;
    stream.read(&mut [0; 1024])
}

#[test]
fn the_wire_cuts_refuses_and_stands_still() {
    let wire = FaultProxy::start(echo());
    assert_eq!(http_get(wire.address(), "/once").expect("an answer").0, 200);

    let mut stream = TcpStream::connect(wire.address()).expect("a connection");
    assert!(talk(&mut stream, SOON).is_ok_and(|length| length > 0));
    wire.half_open(true);
    assert!(talk(&mut stream, Duration::from_millis(50)).is_err(), "nothing comes back");
    wire.half_open(false);
    assert!(talk(&mut stream, SOON).is_ok_and(|length| length > 0), "and now it does");
    wire.cut();
    eventually(SOON, "the cut", || match talk(&mut stream, SOON) {
        Ok(1..) => Err("an answer that was under way".to_owned()),
        _ => Ok(()),
    });

    wire.refuse(true);
    let mut refused = TcpStream::connect(wire.address()).expect("a connection");
    assert!(!talk(&mut refused, SOON).is_ok_and(|length| length > 0));
    wire.refuse(false);
    wire.delay(Duration::from_millis(30));
    let before = std::time::Instant::now();
    assert_eq!(http_get(wire.address(), "/once").expect("an answer").0, 200);
    assert!(before.elapsed() >= Duration::from_millis(60), "each direction waited");
    assert_eq!(wire.connections(), 4);
}

#[test]
fn tunnels_are_counted_and_may_lead_elsewhere() {
    let target = echo();
    for (proxy, authority) in [
        (ConnectProxy::start(), target.to_string()),
        (ConnectProxy::start_toward(Some(target)), "api-01.vendor.example:443".to_owned()),
    ] {
        let address = proxy.url().strip_prefix("http://").expect("a URL").to_owned();
        let mut stream = TcpStream::connect(address).expect("a connection");
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = [0; 128];
        let length = stream.read(&mut answer).expect("an answer");
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
        assert!(talk(&mut stream, SOON).is_ok_and(|length| length > 0));
        assert_eq!(proxy.tunnels(), [authority]);
    }
}

#[test]
fn the_certificate_is_good_for_loopback_and_for_who_trusts_its_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours = Certificates::write(&directory.path().join("ours"));
    let others = Certificates::write(&directory.path().join("others"));
    assert_eq!(handshake(&ours, &ours, "localhost"), Ok(()));
    assert_eq!(handshake(&ours, &ours, "127.0.0.1"), Ok(()));
    assert!(handshake(&ours, &others, "localhost").is_err(), "an authority that nobody trusts");
    assert!(handshake(&ours, &ours, "api-01.vendor.example").is_err(), "another's name");
}

fn handshake(server: &Certificates, trusted: &Certificates, name: &str) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(&server.certificate).and_then(Iterator::collect).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&server.key).expect("a key");
    let acceptor = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let acceptor = acceptor.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let acceptor = acceptor.with_single_cert(chain, key).expect("a server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&trusted.ca).expect("an authority")).expect("an authority");
    let client = rustls::ClientConfig::builder_with_provider(provider);
    let client = client.with_safe_default_protocol_versions().expect("versions");
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = rustls::ServerConnection::new(Arc::new(acceptor)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).map_err(|error| error.to_string())?;
        server.read_tls(&mut wire.as_slice()).map_err(|error| error.to_string())?;
        server.process_new_packets().map_err(|error| error.to_string())?;
        wire.clear();
        server.write_tls(&mut wire).map_err(|error| error.to_string())?;
        client.read_tls(&mut wire.as_slice()).map_err(|error| error.to_string())?;
        client.process_new_packets().map_err(|error| error.to_string())?;
    }
    Ok(())
}
