//! The headers `Origin` and `Host`: what `lf` accepts is an origin or a host to a browser, too, and one of
//! those that the manual names.
#![no_main]

use local_keys::fuzz;
use url::{Host, Url};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(accepted) = fuzz::origin(bytes) else { return };
    if let Some(origin) = accepted.origin.filter(|origin| is_readable(origin)) {
        let url = Url::parse(origin).unwrap();
        assert!(url.origin().is_tuple());
        // A browser leaves out the scheme's own port; who writes it out means the same.
        let own = [":80", ":443"].map(|port| origin.strip_suffix(port));
        let same = url.origin().ascii_serialization();
        assert!(same == origin || own.contains(&Some(&same)), "{same}");
        assert!(url.username().is_empty() && url.password().is_none());
        assert_eq!((url.path(), url.query(), url.fragment()), ("/", None, None));
        let is_ours = match url.host().unwrap() {
            Host::Domain("lenserfight.com") => url.scheme() == "https" && url.port().is_none(),
            Host::Domain("localhost") => true,
            Host::Domain(name) => match name.split_once('.').unwrap() {
                (_, "lenserfight.com") => url.scheme() == "https" && url.port().is_none(),
                (_, rest) => rest == "local",
            },
            Host::Ipv4(address) => match address.octets() {
                [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => true,
                octets => octets == [127, 0, 0, 1],
            },
            Host::Ipv6(address) => address.is_loopback(),
        };
        assert!(is_ours, "{origin}");
    }
    for (host, is_wide) in [(accepted.loopback, false), (accepted.wide, true)] {
        let Some(host) = host.filter(|host| is_readable(host)) else { continue };
        let url = Url::parse(&format!("http://{host}")).unwrap();
        assert_eq!((url.username(), url.path(), url.query()), ("", "/", None));
        let is_ours = match url.host().unwrap() {
            Host::Domain("localhost") => true,
            Host::Domain(name) => {
                is_wide && (["box", "box.example"].contains(&name) || name.ends_with(".local"))
            }
            Host::Ipv4(address) => is_wide || address.is_loopback(),
            Host::Ipv6(address) => is_wide || address.is_loopback(),
        };
        assert!(is_ours, "{host}");
    }
});

/// `lf` takes any label that begins with `xn--`; a browser can have none that is no name in Unicode.
fn is_readable(text: &str) -> bool {
    !text.to_ascii_lowercase().contains("xn--")
}
