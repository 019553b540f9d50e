//! What the gateway answers before a request has come to anything that could fail. Nothing else ends
//! with these, so they have no exit status.

use super::Facts;

macro_rules! table {
    ($($name:ident = $code:literal, $http:literal, $hint:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`, ", $http)]
            pub(crate) static $name: Facts = Facts { code: $code, exit: 0, http: $http, hint: $hint };
        )*

        /// All of them.
        pub(super) static REFUSALS: &[&Facts] = &[$(&$name,)*];
    };
}

table! {
    BAD_REQUEST = "bad_request", 400, "send what RFC 9112 describes, each header once";
    INVALID_JSON = "invalid_json", 400, "send one JSON object";
    INVALID_BODY = "invalid_body", 400, "send the members that belong there, each a string";
    MISSING_TOKEN = "missing_token", 401, "send Authorization: Bearer TOKEN";
    BAD_TOKEN = "bad_token", 401, "pair again: lf gateway pair --name NAME";
    FORBIDDEN_ORIGIN = "forbidden_origin", 403, "set LF_GATEWAY_EXTRA_ORIGINS, if that page is yours";
    FORBIDDEN_FETCH_MODE = "forbidden_fetch_mode", 403, "let the page ask with fetch and CORS";
    NOT_FOUND = "not_found", 404, "ask GET /keys, or POST /keys/ID/resolve for a value";
    IDENTITY_MISSING = "identity_missing", 404, "nothing: this device has no identity";
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "take one that the Allow header names";
    REQUEST_TIMEOUT = "request_timeout", 408, "send the whole request without a pause";
    BODY_TOO_LARGE = "body_too_large", 413, "send at most 65,536 bytes; lf keys add takes more";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415, "send Content-Type: application/json";
    EXPECTATION_FAILED = "expectation_failed", 417, "leave Expect out, or send 100-continue";
    MISDIRECTED_REQUEST = "misdirected_request", 421, "ask 127.0.0.1, or set LF_GATEWAY_EXTRA_HOSTS";
    RATE_LIMITED = "rate_limited", 429, "wait as many seconds as Retry-After says";
    HEADERS_TOO_LARGE = "headers_too_large", 431, "send fewer or shorter headers";
    INTERNAL_ERROR = "internal_error", 500, "report it, with what stands on the gateway's stderr";
    TRANSFER_ENCODING_NOT_SUPPORTED = "transfer_encoding_not_supported", 501,
        "send a body with a Content-Length";
    HTTP_VERSION_NOT_SUPPORTED = "http_version_not_supported", 505, "speak HTTP/1.1 or HTTP/1.0";
}
