//! Which connection a request takes, and when a request is given a second one.

use std::io::{Read, Write};
use std::sync::mpsc;

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn a_connection_serves_again() {
    let vendor = FakeVendor::ok().await;
    let client = client();
    for _ in 0..5 {
        succeed(&client, &vendor.origin).await;
    }
    assert_eq!((vendor.connections(), vendor.requests()), (1, 5));
}

#[tokio::test]
async fn the_youngest_rest_is_used_first() {
    let vendor = FakeVendor::ok().await;
    let client = client();
    tokio::join!(succeed(&client, &vendor.origin), succeed(&client, &vendor.origin));
    assert_eq!(vendor.connections(), 2);
    for _ in 0..5 {
        succeed(&client, &vendor.origin).await;
    }
    assert_eq!(vendor.connections(), 2);
}

#[tokio::test]
async fn a_connection_is_made_anew_after_its_age_or_rest() {
    let vendor = FakeVendor::ok().await;
    let old = client_with(|options| options.max_connection_age = Duration::ZERO);
    let rested = client_with(|options| options.idle = Duration::ZERO);
    for (client, connections) in [(&old, 2), (&rested, 4)] {
        succeed(client, &vendor.origin).await;
        succeed(client, &vendor.origin).await;
        assert_eq!(vendor.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_ages_while_it_is_used() {
    let vendor = FakeVendor::ok().await;
    let client = client_with(|options| options.max_connection_age = Duration::from_millis(20));
    while vendor.connections() < 2 {
        succeed(&client, &vendor.origin).await;
    }
}

#[tokio::test]
async fn the_servers_wish_to_close_is_kept() {
    let vendor = FakeVendor::start(None, || async {
        Answer::builder().header("connection", "close").body(Full::from("ok")).unwrap()
    })
    .await;
    let client = client();
    succeed(&client, &vendor.origin).await;
    succeed(&client, &vendor.origin).await;
    assert_eq!(vendor.connections(), 2);
}

/// A server outside the runtime: answers, closes when told and says when it has.
fn closing_server() -> (Origin, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (close, told) = mpsc::channel();
    let (said, closed) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
            if told.recv().is_err() {
                return;
            }
            drop(stream);
            said.send(()).unwrap();
        }
    });
    (Origin { tls: false, host: "127.0.0.1".into(), port, reach: Reach::TRUSTED }, close, closed)
}

#[tokio::test]
async fn a_connection_that_ended_at_rest_is_replaced() {
    let (origin, close, closed) = closing_server();
    let client = client();
    // How many turns the runtime has between the end of the connection and the next request: with one turn the driver
    // learns of the end and of the request at the same time, and hands the request back.
    for turns in [1, 2, 10] {
        succeed(&client, &origin).await;
        close.send(()).unwrap();
        closed.recv().unwrap();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
    succeed(&client, &origin).await;
}

#[tokio::test]
async fn a_request_whose_bytes_left_is_never_sent_again() {
    let requests = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&requests);
    let origin = raw(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            // Answers the first request of each connection only.
            for answer in [OK, ""] {
                if !read_request(&mut stream).await.is_empty() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                write(&mut stream, answer).await;
            }
        }
    })
    .await;
    let client = client();
    succeed(&client, &origin).await;
    let error = fail(&client, &origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("closed", true));
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    succeed(&client, &origin).await;
}

#[tokio::test]
async fn a_server_that_closes_at_once_is_not_asked_twice() {
    let connections = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&connections);
    let origin = raw(move |stream, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { drop(stream) }
    })
    .await;
    assert_eq!(fail(&client(), &origin).await.kind(), "closed");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_origin_has_so_many_connections_and_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let slow = FakeVendor::start(None, move || {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Answer::new(Full::from("ok"))
        }
    })
    .await;
    let other = FakeVendor::ok().await;
    let client = client_with(|options| options.max_connections_per_origin = 2);
    let requests = async {
        tokio::join!(
            succeed(&client, &slow.origin),
            succeed(&client, &slow.origin),
            succeed(&client, &slow.origin),
            succeed(&client, &slow.origin),
        )
    };
    let watch = async {
        while slow.requests() < 2 {
            tokio::task::yield_now().await;
        }
        succeed(&client, &other.origin).await;
        assert_eq!((slow.connections(), slow.requests()), (2, 2));
        gate.add_permits(4);
    };
    tokio::join!(requests, watch);
    assert_eq!((slow.connections(), slow.requests()), (2, 4));
}

#[tokio::test]
async fn a_request_that_is_dropped_frees_its_place_and_closes_its_connection() {
    let (sender, mut seen) = tokio::sync::mpsc::channel(2);
    let origin = raw(move |mut stream, number| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            sender.send(number).await.unwrap();
            if number == 0 {
                let end = read_request(&mut stream).await;
                assert_eq!(end, "");
                sender.send(number).await.unwrap();
            }
            write(&mut stream, OK).await;
        }
    })
    .await;
    let client = client_with(|options| options.max_connections_per_origin = 1);
    tokio::select! {
        _ = post(&client, &origin, "body") => unreachable!("the server does not answer"),
        number = seen.recv() => assert_eq!(number, Some(0)),
    }
    succeed(&client, &origin).await;
    assert_eq!((seen.recv().await, seen.recv().await), (Some(0), Some(1)));
}

#[tokio::test]
async fn what_rests_too_long_is_closed_when_another_origin_connects() {
    let (sender, mut closed) = tokio::sync::mpsc::channel(1);
    let origin = raw(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await;
            write(&mut stream, OK).await;
            let end = read_request(&mut stream).await;
            sender.send(end).await.unwrap();
        }
    })
    .await;
    let client = client_with(|options| options.idle = Duration::from_millis(20));
    succeed(&client, &origin).await;
    let other = FakeVendor::ok().await;
    while closed.is_empty() {
        succeed(&client, &other.origin).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(closed.recv().await.as_deref(), Some(""));
}
