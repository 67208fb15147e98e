//! A server that is slow, silent or busy, on the loopback interface.

use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::client::HttpRequestBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PACE: Pace = Pace { silence: Duration::from_secs(2), slowest: 1 << 10, longest_rest: Duration::from_secs(600) };

/// Serves each connection with `answer`, and counts them.
async fn serve<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream));
        }
    });
    (url, served)
}

/// Reads up to the end of a request without a body.
async fn heard(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
}

fn client(pace: Pace) -> HttpClient {
    Paced(pace).connect(&ClientOptions::new().with_allow_http(true)).unwrap()
}

fn request(url: &str, body: usize) -> HttpRequest {
    http::Request::put(url).body(HttpRequestBody::from(vec![0; body])).unwrap()
}

#[tokio::test]
async fn an_answer_may_take_longer_than_the_silence_as_long_as_it_goes_on() {
    let (url, _) = serve(|mut stream| async move {
        heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 8\r\n\r\n").await.unwrap();
        for byte in b"evidence" {
            tokio::time::sleep(PACE.silence / 4).await;
            stream.write_all(&[*byte]).await.unwrap();
        }
    })
    .await;
    let begun = Instant::now();
    let answer = client(PACE).execute(request(&url, 0)).await.unwrap();
    assert_eq!(answer.into_body().bytes().await.unwrap(), "evidence");
    assert!(begun.elapsed() >= PACE.silence, "it was not slow");
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_given_up() {
    let (url, _) = serve(|mut stream| async move {
        heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nevi").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let answer = client(PACE).execute(request(&url, 0)).await.unwrap();
    let error = answer.into_body().bytes().await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Timeout);
    assert_eq!(error.source().unwrap().to_string(), "nothing came from the store within 2 s");
}

#[tokio::test]
async fn a_request_has_time_by_its_size() {
    let (url, _) = serve(|stream| async move {
        let _silent = stream;
        std::future::pending::<()>().await;
    })
    .await;
    for (body, limit) in [(0, 2), (3 << 10, 5)] {
        let begun = Instant::now();
        let error = client(PACE).execute(request(&url, body)).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
        assert!(begun.elapsed() >= Duration::from_secs(limit), "{body} bytes: {:?}", begun.elapsed());
        assert_eq!(error.source().unwrap().to_string(), format!("nothing came from the store within {limit} s"));
    }
}

#[tokio::test]
async fn a_store_is_left_alone_for_as_long_as_it_asks() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let (url, served) = serve(move |mut stream| async move {
            heard(&mut stream).await;
            let head = format!("HTTP/1.1 {status}\r\nretry-after: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let client = client(PACE);
        let begun = Instant::now();
        let first = client.execute(request(&url, 0)).await.unwrap();
        while served.load(Ordering::Relaxed) < 2 {
            let again = client.execute(request(&url, 0)).await.unwrap();
            assert_eq!(again.status(), first.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_store_that_asks_for_too_much_is_asked_again_after_the_longest_rest() {
    let pace = Pace { longest_rest: Duration::from_millis(100), ..PACE };
    let (url, served) = serve(|mut stream| async move {
        heard(&mut stream).await;
        let head = "HTTP/1.1 503 Slow\r\nretry-after: 86400\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
    })
    .await;
    let client = client(pace);
    while served.load(Ordering::Relaxed) < 2 {
        client.execute(request(&url, 0)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
