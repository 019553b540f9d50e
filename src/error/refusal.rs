//! What the gateway answers before a request has come to anything that could fail. Nothing else ends
//! with these, so they have no exit status.

use super::ErrorInfo;

macro_rules! table {
    ($($name:ident = $code:literal, $http:literal;)*) => {
        $(
            #[doc = concat!("`", $code, "`, ", $http)]
            pub(crate) static $name: ErrorInfo = ErrorInfo { code: $code, exit: 0, http: $http };
        )*

        /// All of them.
        pub(super) static REFUSALS: &[&ErrorInfo] = &[$(&$name,)*];
    };
}

table! {
    BAD_REQUEST = "bad_request", 400;
    INVALID_JSON = "invalid_json", 400;
    INVALID_BODY = "invalid_body", 400;
    MISSING_TOKEN = "missing_token", 401;
    BAD_TOKEN = "bad_token", 401;
    FORBIDDEN_ORIGIN = "forbidden_origin", 403;
    NOT_PERMITTED = "not_permitted", 403;
    FORBIDDEN_FETCH_MODE = "forbidden_fetch_mode", 403;
    NOT_FOUND = "not_found", 404;
    IDENTITY_MISSING = "identity_missing", 404;
    METHOD_NOT_ALLOWED = "method_not_allowed", 405;
    REQUEST_TIMEOUT = "request_timeout", 408;
    BODY_TOO_LARGE = "body_too_large", 413;
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415;
    EXPECTATION_FAILED = "expectation_failed", 417;
    MISDIRECTED_REQUEST = "misdirected_request", 421;
    RATE_LIMITED = "rate_limited", 429;
    HEADERS_TOO_LARGE = "headers_too_large", 431;
    INTERNAL_ERROR = "internal_error", 500;
    TRANSFER_ENCODING_NOT_SUPPORTED = "transfer_encoding_not_supported", 501;
    HTTP_VERSION_NOT_SUPPORTED = "http_version_not_supported", 505;
}
