//! One connection, with a peer that sends and closes as it likes.

use std::net::{Ipv4Addr, TcpStream};
use std::thread;

use super::*;

const AT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a connection makes of a peer that has sent this.
fn with<T>(
    sent: &[u8],
    is_closed: bool,
    act: impl FnOnce(&mut Connection<'_>, &mut TcpStream) -> T,
) -> T {
    let (place, mut peer) = Place::pair();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    peer.write_all(sent).unwrap();
    if is_closed {
        peer.shutdown(Shutdown::Write).unwrap();
    }
    act(&mut Connection::new(&place, AT), &mut peer)
}

fn status(failure: &Failure) -> u16 {
    match failure {
        Failure::Gone => 0,
        Failure::Refused(reply) => reply.status,
    }
}

/// All that the peer gets until the connection is closed for writing.
fn received(connection: &Connection<'_>, peer: &mut TcpStream) -> String {
    connection.place.stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    text
}

fn head(length: usize) -> String {
    let mut head = "GET / HTTP/1.1\r\nA: ".to_owned();
    head.extend(std::iter::repeat_n('x', length - head.len() - 4));
    head + "\r\n\r\n"
}

#[test]
fn requests_come_one_after_the_other_however_they_are_cut() {
    let both = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n\r\n";
    with(both.as_bytes(), true, |connection, _| {
        let first = connection.request().ok().unwrap();
        assert_eq!(
            (&*first.path, connection.body(&first).ok().unwrap().as_slice()),
            ("/a", &b"abc"[..])
        );
        assert!(connection.place.is_serving());
        assert_eq!(connection.request().ok().unwrap().path, "/b");
        assert!(connection.place.is_serving());
        assert_eq!(status(&connection.request().unwrap_err()), 0, "the peer has closed");
    });
    for cut in [1, 16, 17, 18, 37, 38, 39, 40, 41, 42] {
        let (first, rest) = both.as_bytes().split_at(cut);
        with(first, false, |connection, peer| {
            thread::scope(|scope| {
                // It is read in two pieces, unless the second is there already.
                scope.spawn(|| peer.write_all(rest).unwrap());
                let request = connection.request().ok().unwrap();
                assert_eq!(connection.body(&request).ok().unwrap().as_slice(), b"abc", "{cut}");
            });
        });
    }
}

#[test]
fn a_head_has_at_most_16_kib_and_ends() {
    for (length, expected) in [(MAX_HEAD, Ok(())), (MAX_HEAD + 1, Err(431))] {
        // Of a first packet with one byte, the reads do not end where the head must.
        let head = head(length);
        let (first, rest) = head.as_bytes().split_at(1);
        let found = with(first, false, |connection, peer| {
            connection.receive().unwrap();
            peer.write_all(rest).unwrap();
            connection.request().map(drop).map_err(|failure| status(&failure))
        });
        assert_eq!(found, expected, "{length}");
    }
    for (sent, expected) in
        [("", 0), ("GET / HTTP/1.1\r\n", 0), ("GET /\r\n\r\n", 400), ("\n", 400)]
    {
        let failure =
            with(sent.as_bytes(), true, |connection, _| connection.request().unwrap_err());
        assert_eq!(status(&failure), expected, "{sent:?}");
    }
}

#[test]
fn a_body_has_its_length_and_at_most_64_kib() {
    for (length, sent, expected) in [
        (0, 0, Ok(())),
        (1, 1, Ok(())),
        (5000, 5000, Ok(())),
        (65536, 65536, Ok(())),
        (5000, 4999, Err(0)),
        (65537, 65537, Err(413)),
    ] {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        let bytes: Vec<u8> = (0..sent).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let found = with(&[head.as_bytes(), &bytes].concat(), true, |connection, _| {
            let request = connection.request().ok().unwrap();
            connection.body(&request).map(|body| assert_eq!(*body, bytes))
        });
        assert_eq!(found.map_err(|failure| status(&failure)), expected, "{length}");
    }
}

#[test]
fn a_100_continue_is_sent_to_a_peer_that_waits_for_it_and_to_no_other() {
    let head = |length: usize, version: &str| {
        format!("POST / HTTP/{version}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
    };
    for (sent, body, is_sent) in [
        (head(2, "1.1"), "ab", true),
        (head(2, "1.1") + "a", "b", false),
        (head(2, "1.0"), "ab", false),
        (head(0, "1.1"), "", false),
        (head(2, "1.1").replace("Expect: 100-continue\r\n", ""), "ab", false),
    ] {
        with(sent.as_bytes(), false, |connection, peer| {
            let request = connection.request().ok().unwrap();
            peer.write_all(body.as_bytes()).unwrap();
            let length = usize::try_from(request.content_length).unwrap();
            assert_eq!(connection.body(&request).ok().unwrap().len(), length);
            let expected = if is_sent { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
            assert_eq!(received(connection, peer), expected, "{sent:?}");
        });
    }
}

#[test]
fn an_answer_is_whole_and_says_whether_the_connection_is_kept() {
    let long = "x".repeat(300_000);
    for (head, version, has_body) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 ", true),
        ("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 ", false),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 ", true),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.0 ", true),
    ] {
        with(head.as_bytes(), false, |connection, peer| {
            let request = connection.request().ok().unwrap();
            let mut peer = peer.try_clone().unwrap();
            let reader = thread::spawn(move || {
                let mut text = String::new();
                peer.read_to_string(&mut text).map(|_| text)
            });
            connection.answer(&Reply::text("text/plain", &long), Some(&request)).unwrap();
            assert!(!connection.place.is_serving(), "it waits for its peer");
            connection.place.stream.shutdown(Shutdown::Write).unwrap();
            let text = reader.join().unwrap().unwrap();
            assert!(text.starts_with(version), "{head}");
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, if has_body { &*long } else { "" }, "{head}");
        });
    }
    with(b"", false, |connection, peer| {
        connection.answer(&Reply::empty(204), None).unwrap();
        assert!(received(connection, peer).starts_with("HTTP/1.0 204 "));
    });
}

#[test]
fn time_runs_out_and_what_is_not_on_the_clock_takes_none() {
    with(b"", false, |connection, _| {
        connection.stream.deadline = Deadline::after(Duration::from_millis(50));
        let error = connection.stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(status(&Failure::from(error)), 408);
        assert_eq!(connection.stream.write(b"x").unwrap_err().kind(), io::ErrorKind::TimedOut);
        let gone = Failure::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(status(&gone), 0);
    });
    with(b"", false, |connection, _| {
        connection.stream.deadline = Deadline::after(Duration::from_secs(60));
        let late = Deadline::after(Duration::ZERO);
        let done = connection.off_the_clock(|| late.left().is_none());
        assert!(done && connection.stream.deadline.left().unwrap() > Duration::from_secs(50));
        connection.stream.deadline = late;
        connection.off_the_clock(|| {});
        assert!(connection.stream.deadline.left().is_none(), "it was over before");
    });
}

#[test]
fn what_is_still_sent_is_taken_and_dropped_before_the_end() {
    with(&vec![b'x'; 100_000], true, |connection, peer| {
        connection.linger();
        assert_eq!(connection.stream.read(&mut [0]).unwrap(), 0, "all of it was read");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "and the peer sees the end");
    });
}
