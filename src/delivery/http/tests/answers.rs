//! What goes over the wire, and what becomes of what comes back.

use super::super::{LEAST_ANSWER, LONG_ANSWERS};
use super::*;

#[tokio::test]
async fn a_request_is_written_with_its_exact_length() {
    let (sender, mut seen) = tokio::sync::mpsc::channel(2);
    let origin = raw(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            for _ in 0..2 {
                sender.send(read_request(&mut stream).await).await.unwrap();
                write(&mut stream, OK).await;
            }
        }
    })
    .await;
    let client = client();
    for body in ["body", ""] {
        assert_eq!(post(&client, &origin, body).await.unwrap().status, 200);
        let request = seen.recv().await.unwrap();
        let (head, sent) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, body);
        let mut lines: Vec<_> = head.lines().collect();
        assert_eq!(lines.remove(0), format!("POST /v1/{SECRET}?q=1 HTTP/1.1"));
        lines.sort_unstable();
        let expected = [
            format!("api-key: {SECRET}"),
            format!("content-length: {}", body.len()),
            format!("host: 127.0.0.1:{}", origin.port),
            format!("user-agent: forebay/{}", env!("CARGO_PKG_VERSION")),
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let vendor = FakeVendor::start(None, || async {
        Answer::builder().status(302).header("location", "http://127.0.0.1:1/").body(Full::default()).unwrap()
    })
    .await;
    let answer = post(&client(), &vendor.origin, "body").await.unwrap();
    assert_eq!((answer.status, &answer.headers["location"]), (302, &HeaderValue::from_static("http://127.0.0.1:1/")));
    assert_eq!(vendor.requests(), 1);
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, &format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{OK}")).await;
    })
    .await;
    succeed(&client(), &origin).await;
}

#[tokio::test]
async fn an_answer_in_pieces_is_joined() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in ["3\r\nabc\r\n", "2\r\nde\r\n", "1\r\nf\r\n", "0\r\n\r\n"] {
            write(&mut stream, piece).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = post(&client(), &origin, "body").await.unwrap();
    assert_eq!((&answer.body[..], answer.truncated), (&b"abcdef"[..], false));
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_cut_and_its_connection_closed() {
    let vendor = FakeVendor::start(None, || async { Answer::new(Full::from(vec![b'x'; 100_000])) }).await;
    let large = "x".repeat(30_000);
    let exact = client_with(|options| options.answer_cap = 100_000);
    for connections in [1, 1] {
        let answer = post(&exact, &vendor.origin, large.clone()).await.unwrap();
        assert_eq!((answer.body.len(), answer.truncated, vendor.connections()), (100_000, false, connections));
    }
    for (cap, connections) in [(99_999, 2), (1, 3), (0, 4)] {
        let client = client_with(|options| options.answer_cap = cap);
        let answer = post(&client, &vendor.origin, large.clone()).await.unwrap();
        assert_eq!((answer.body.len(), answer.truncated, vendor.connections()), (cap, true, connections));
    }
    let small = client_with(|options| options.answer_cap = 1);
    for connections in [5, 6] {
        post(&small, &vendor.origin, "body").await.unwrap();
        assert_eq!(vendor.connections(), connections);
    }
}

#[tokio::test]
async fn an_endless_body_ends_at_the_cap() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"4\r\nabcd\r\n").await.is_ok() {}
    })
    .await;
    let answer = post(&client_with(|options| options.answer_cap = 70_001), &origin, "x".repeat(30_000)).await.unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (70_001, true));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_read_counts() {
    // More than the sockets' buffers hold, so that the rest of the request can never be written.
    const LARGE: usize = 32 << 20;
    let (sender, mut heads) = tokio::sync::mpsc::channel(2);
    let origin = raw(move |mut stream, number| {
        let sender = sender.clone();
        async move {
            let mut head = [0; 16];
            stream.read_exact(&mut head).await.unwrap();
            write(&mut stream, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
            sender.send(number).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let client = client();
    for connection in [0, 1] {
        assert_eq!(post(&client, &origin, vec![b'x'; LARGE]).await.unwrap().status, 413);
        assert_eq!(heads.recv().await, Some(connection), "a connection in the midst of a request is not used again");
    }
}

#[tokio::test]
async fn what_is_not_http_is_told_apart() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    })
    .await;
    let error = fail(&client(), &origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("not_http", true));
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_no_answer() {
    let origin = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    })
    .await;
    let error = fail(&client(), &origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("closed", true));
}

#[tokio::test]
async fn a_target_that_cannot_be_written_is_refused_unsent() {
    let vendor = FakeVendor::ok().await;
    let client = client();
    for path in ["", "v1", "/a b", "/a\r\nx: y", "http://elsewhere/"] {
        let error = client.head(&vendor.origin, path, &HeaderMap::new()).unwrap_err();
        assert_eq!((error.kind(), error.may_have_been_received()), ("request", false), "{path}");
    }
    let host = Origin { tls: false, host: "a\nb".into(), port: 1, reach: Reach::TRUSTED };
    assert_eq!(fail(&client, &host).await.kind(), "request");
    assert_eq!(vendor.connections(), 0);
}

/// Answers with so many bytes.
async fn answering(bytes: &Arc<AtomicUsize>) -> Vec<FakeVendor> {
    let mut vendors = Vec::new();
    for _ in 0..=LONG_ANSWERS {
        let bytes = Arc::clone(bytes);
        let answer = move || {
            let bytes = bytes.load(Ordering::Relaxed);
            async move { Answer::new(Full::from(vec![b'x'; bytes])) }
        };
        vendors.push(FakeVendor::start(None, answer).await);
    }
    vendors
}

#[tokio::test]
async fn long_answers_wait_for_room_and_short_ones_do_not() {
    let bytes = Arc::new(AtomicUsize::new(90_000));
    let vendors = answering(&bytes).await;
    let client = client_with(|options| (options.answer_cap, options.timeout) = (100_000, Duration::from_millis(300)));
    let long = |host: usize| post(&client, &vendors[host].origin, "x".repeat(30_000));
    let waits = |result: Result<Response, TransportError>| matches!(result, Err(TransportError::Timeout { .. }));
    let mut held = vec![long(0).await.unwrap()];
    assert!(waits(long(0).await), "there is room for one of a host");
    for host in 1..LONG_ANSWERS {
        held.push(long(host).await.unwrap());
    }
    assert!(waits(long(LONG_ANSWERS).await), "and for so many of all");
    bytes.store(LEAST_ANSWER, Ordering::Relaxed);
    for host in [0, LONG_ANSWERS] {
        assert_eq!(long(host).await.unwrap().body.len(), LEAST_ANSWER, "a short one needs none");
    }
    bytes.store(90_000, Ordering::Relaxed);
    held.pop();
    assert_eq!(long(LONG_ANSWERS).await.unwrap().body.len(), 90_000);
    held.clear();
    assert_eq!(long(0).await.unwrap().body.len(), 90_000);
}
