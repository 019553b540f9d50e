//! The head of an HTTP request.

use std::net::{IpAddr, Ipv4Addr};

use crate::gateway::http::request::{parse, scan};

/// The head, and its method, path, query and the length of its body, if it is one.
///
/// 1. Its end is the same wherever the packets are cut.
/// 2. With its lines written in one form, it is read as the same request.
/// 3. A header is found under its name, or refused because it is there twice.
pub fn head(bytes: &[u8]) -> Option<(&[u8], [String; 3], u64)> {
    let end = scan(bytes, 0);
    for size in [1, 7] {
        let in_pieces = scan_pieces(bytes, size);
        assert_eq!(in_pieces.is_err(), end.is_err());
        assert_eq!(in_pieces.ok(), end.as_ref().ok().copied());
    }
    let head = &bytes[..end.ok()??];
    let request = parse(head, AT).ok()?;
    let text = std::str::from_utf8(head).unwrap();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut plain = lines.next().unwrap().to_owned();
    let mut names = Vec::new();
    for (name, value) in lines.map(|line| line.split_once(':').unwrap()) {
        let (name, value) = (name.to_ascii_uppercase(), value.trim_matches([' ', '\t']));
        plain += &format!("\r\n{name}:\t{value} ");
        names.push((name.to_ascii_lowercase(), value));
    }
    plain += "\r\n\r\n";
    let again = parse(plain.as_bytes(), AT).unwrap();
    assert_eq!(format!("{again:?}"), format!("{request:?}"));
    for (name, value) in &names {
        let is_one = names.iter().filter(|(other, _)| other == name).count() == 1;
        let found = request.header(name).ok();
        assert_eq!(found, is_one.then_some(Some(*value)));
    }
    let texts = [request.method.to_string(), request.path.clone(), request.query.clone()];
    assert!(!request.can_be_skipped() || request.content_length <= 65_536);
    Some((head, texts, request.content_length))
}

/// As a connection scans what it receives in packets of this size.
fn scan_pieces(bytes: &[u8], size: usize) -> Result<Option<usize>, ()> {
    let mut scanned = 0;
    for end in (size..bytes.len()).step_by(size).chain([bytes.len()]) {
        if let Some(end) = scan(&bytes[..end], scanned).map_err(drop)? {
            return Ok(Some(end));
        }
        scanned = end.saturating_sub(3);
    }
    Ok(None)
}

const AT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
