//! What the gateway answers before a request has come to anything that could fail. Nothing else ends
//! with these, so they have no exit status.

use super::Facts;

macro_rules! table {
    ($($name:ident = $code:literal, $http:literal, $way_out:literal, $more:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`, ", $http)]
            pub static $name: Facts = Facts { code: $code, exit: 0, http: $http, way_out: $way_out, more: $more };
        )*

        /// All of them.
        pub(super) static REFUSALS: &[&Facts] = &[$(&$name,)*];
    };
}

table! {
    BAD_REQUEST = "bad_request", 400,
        "send what RFC 9112 describes, each header once",
        "The request could be read in two ways, or in none: a doubled Host, a bare line feed, a length that is no number. The connection closes.";
    INVALID_JSON = "invalid_json", 400,
        "send one JSON object",
        "The body is not JSON, or not UTF-8.";
    INVALID_BODY = "invalid_body", 400,
        "send the members that belong there, each a string",
        "A member is missing, unknown, or not a string. To add a key: provider, label, rawKey; to change one: label, rawKey, or both.";
    MISSING_TOKEN = "missing_token", 401,
        "send Authorization: Bearer TOKEN",
        "Everything below /keys asks for a pairing token; lf gateway pair makes one.";
    BAD_TOKEN = "bad_token", 401,
        "pair again: lf gateway pair --name NAME",
        "No pairing has this token: it was revoked, has expired, was replaced, or was cut short when it was pasted.";
    FORBIDDEN_ORIGIN = "forbidden_origin", 403,
        "set LF_GATEWAY_EXTRA_ORIGINS, if that page is yours",
        "The page that asked comes from a place that may not use this gateway. The variable is read when the gateway starts.";
    FORBIDDEN_FETCH_MODE = "forbidden_fetch_mode", 403,
        "let the page ask with fetch and CORS",
        "A navigation, or a request whose answer the page could not read, has no business with keys.";
    NOT_FOUND = "not_found", 404,
        "ask GET /keys, or POST /keys/ID/resolve for a value",
        "There is no such path. A key that is not there has a code of its own, key_not_found.";
    IDENTITY_MISSING = "identity_missing", 404,
        "nothing: this device has no identity",
        "The predecessor gave some devices a public key; there is none here, and nothing of the keys needs one.";
    METHOD_NOT_ALLOWED = "method_not_allowed", 405,
        "take one that the Allow header names",
        "The path is right, and the method is not one of its.";
    REQUEST_TIMEOUT = "request_timeout", 408,
        "send the whole request without a pause",
        "The request was begun and not completed in time. The connection closes.";
    BODY_TOO_LARGE = "body_too_large", 413,
        "send at most 65,536 bytes; lf keys add takes more",
        "The body was not read. A value counts with everything around it: lf keys add takes one of 64 KiB.";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415,
        "send Content-Type: application/json",
        "The body has another type, or none.";
    EXPECTATION_FAILED = "expectation_failed", 417,
        "leave Expect out, or send 100-continue",
        "That is the only expectation that RFC 9110 defines.";
    MISDIRECTED_REQUEST = "misdirected_request", 421,
        "ask 127.0.0.1, or set LF_GATEWAY_EXTRA_HOSTS",
        "The Host header has a name that is not this gateway's; so a foreign name that points here reads nothing (DNS rebinding).";
    RATE_LIMITED = "rate_limited", 429,
        "wait as many seconds as Retry-After says",
        "A pairing may resolve 5 keys at once and 60 a minute.";
    HEADERS_TOO_LARGE = "headers_too_large", 431,
        "send fewer or shorter headers",
        "The head has more than 16 KiB or 64 headers. The connection closes.";
    INTERNAL_ERROR = "internal_error", 500,
        "report it, with what stands on the gateway's stderr",
        "A defect of lf. The request came to nothing, and the gateway serves on.";
    TRANSFER_ENCODING_NOT_SUPPORTED = "transfer_encoding_not_supported", 501,
        "send a body with a Content-Length",
        "Bodies come whole, not in chunks. The connection closes.";
    HTTP_VERSION_NOT_SUPPORTED = "http_version_not_supported", 505,
        "speak HTTP/1.1 or HTTP/1.0",
        "The request line names another version. The connection closes.";
}
