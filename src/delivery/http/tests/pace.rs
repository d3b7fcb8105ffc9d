//! How fast it is, for people to read: no number is asserted. Run with `--release --ignored --nocapture`.

use std::io::{Read, Write};

use super::*;

const REQUESTS: u32 = 20_000;

/// A plain sink on a thread of its own, which only counts bytes: what is measured is the client.
fn sink() -> Origin {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = vec![0; 256 << 10];
        let (mut length, mut have) = (0, 0);
        while let Ok(count @ 1..) = stream.read(&mut buffer[have..]) {
            have += count;
            if length == 0 {
                let head = buffer[..have].windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
                let body = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                length = head + body.parse::<usize>().unwrap();
            }
            if have == length {
                stream.write_all(OK.as_bytes()).unwrap();
                (length, have) = (0, 0);
            }
        }
    });
    Origin { tls: false, host: "127.0.0.1".into(), port, reach: Reach::TRUSTED }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn twenty_thousand_requests_of_20_kb() {
    let (origin, client) = (sink(), client());
    let body = Bytes::from(vec![b'x'; 20_000]);
    let begun = std::time::Instant::now();
    for _ in 0..REQUESTS {
        succeed_with(&client, &origin, body.clone()).await;
    }
    println!("{:.1} µs a request, one at a time", begun.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS));
}

async fn succeed_with(client: &Client, origin: &Origin, body: Bytes) {
    assert_eq!(post(client, origin, body).await.unwrap().status, 200);
}
