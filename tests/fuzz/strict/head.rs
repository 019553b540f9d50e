//! The head of an HTTP request: what `lf` accepts httparse accepts, and reads the same from it.
#![no_main]

use local_keys::fuzz;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((head, [method, path, query], length)) = fuzz::head(bytes) else { return };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())));
    assert_eq!(request.method, Some(&*method));
    let target = request.path.unwrap();
    assert_eq!(target.split_once('?').unwrap_or((target, "")), (&*path, &*query));
    let named = |name: &str| {
        let headers = request.headers.iter();
        headers.filter(|header| header.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
    };
    assert!(named("Transfer-Encoding").is_empty());
    match named("Content-Length")[..] {
        [] => assert_eq!(length, 0),
        [only] => {
            let digits = std::str::from_utf8(only.value).unwrap();
            assert!(digits.parse().unwrap_or(u64::MAX) == length, "{digits}");
        }
        _ => panic!("several lengths"),
    }
});
