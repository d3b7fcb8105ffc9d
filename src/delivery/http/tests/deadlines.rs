//! Where a request may stop, and that it does.

use super::super::Phase;
use super::*;

const SHORT: Duration = Duration::from_millis(300);

fn hasty() -> Client {
    client_with(|options| options.timeout = SHORT)
}

async fn phase(client: &Client, origin: &Origin) -> (Phase, bool) {
    let error = fail(client, origin).await;
    let received = error.may_have_been_received();
    match error {
        TransportError::Timeout { phase, .. } => (phase, received),
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(phase(&hasty(), &origin).await, (Phase::Answering, true));
}

#[tokio::test]
async fn a_body_that_does_not_end() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        read_request(&mut stream).await;
    })
    .await;
    assert_eq!(phase(&hasty(), &origin).await, (Phase::Answering, true));
}

#[tokio::test]
async fn a_handshake_that_does_not_end() {
    let mut origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    origin.tls = true;
    assert_eq!(phase(&hasty(), &origin).await, (Phase::Securing, false));
}

#[tokio::test]
async fn a_host_that_does_not_take_connections() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // Nobody accepts, so Linux drops what comes when the queue is full.
    let listener = socket.listen(1).unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SHORT, TcpStream::connect(listener.local_addr().unwrap())).await {
        queue.push(stream.unwrap());
    }
    let origin = local(&listener, false);
    assert_eq!(phase(&hasty(), &origin).await, (Phase::Connecting, false));
}

#[tokio::test]
async fn waiting_for_a_connection_counts() {
    let vendor = FakeVendor::ok().await;
    let client = client_with(|options| {
        options.timeout = SHORT;
        options.max_connections_per_origin = 1;
    });
    let host = client.host(&vendor.origin).unwrap();
    let held = host.permit().await;
    let error = fail(&client, &vendor.origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("busy", false));
    drop(held);
    succeed(&client, &vendor.origin).await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let (origin, _socket) = closed_port();
    let error = fail(&client(), &origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("connect", false));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    // Labels have 63 characters at most, so no resolver is asked.
    let origin = Origin { tls: true, host: format!("{}.invalid", "a".repeat(64)), port: 443, reach: Reach::TRUSTED };
    let error = fail(&client(), &origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("dns", false));
}

#[tokio::test]
async fn a_name_with_a_dead_address_and_a_good_one() {
    // On most machines `localhost` is `::1` first, where this server does not listen.
    let vendor = FakeVendor::ok().await;
    let origin = Origin { host: "localhost".into(), ..vendor.origin.clone() };
    succeed(&client(), &origin).await;
}
