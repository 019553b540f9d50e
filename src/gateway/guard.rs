//! Who gets in: host, origin, preflight, fetch mode, route, token, bucket, in this order and nowhere
//! else. CORS is written here alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tiny_http::Method;

use super::http::{Reply, Request};
use super::page::{File, Reach};
use crate::base::bucket::Bucket;
use crate::base::time::Timestamp;
use crate::error::{Facts, refusal};
use crate::gateway::origin::{HostError, Hosts, Origins};
use crate::gateway::pairing::Recogniser;
use crate::vault::audit::Kind;

/// Everything that decides.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Hosts,
    origins: Origins,
    recogniser: Recogniser,
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// Who asks for what, as far as the guard has come.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// The page's origin, if it has one and that is ours.
    pub(crate) origin: Option<String>,
    /// The route's name.
    route: Option<&'static str>,
    /// Whose token it was, if it was one.
    pairing: Option<String>,
}

impl Caller {
    /// For the audit log.
    pub(crate) fn context(&self) -> Vec<(&str, &str)> {
        let origin = self.origin.as_deref().map(|origin| ("origin", origin));
        let pairing = self.pairing.as_deref().map(|pairing| ("pairing", pairing));
        let route = ("route", self.route.unwrap_or("-"));
        [Some(route), origin, pairing]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// An answer in place of a way in.
#[derive(Debug)]
pub(crate) struct Denial {
    /// The answer, without CORS headers.
    pub(crate) reply: Reply,
    /// What the audit log should say: the kind, and the reason's code.
    pub(crate) event: Option<(Kind, &'static str)>,
}

/// What is asked for. Ids are as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /healthz`
    Health,
    /// `GET /identity`
    Identity,
    /// `GET /`, and the files that it asks for
    Page(&'static File),
    /// `GET /keys`
    List(Detail),
    /// `POST /keys`
    Add,
    /// `PUT /keys/:id`
    Update(String),
    /// `DELETE /keys/:id`
    Remove(String),
    /// `POST /keys/:id/rotate`
    Rotate(String),
    /// `POST /keys/:id/resolve`
    Resolve(String),
}

/// What a list tells of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Its metadata.
    Meta,
    /// And when it was last used: `GET /keys?include=last_used`. Unasked, the answer stays as
    /// existing clients know it.
    LastUse,
}

impl Guard {
    /// A guard with full buckets.
    pub(crate) fn new(hosts: Hosts, origins: Origins, recogniser: Recogniser) -> Guard {
        Guard {
            hosts,
            origins,
            recogniser,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Judges a request by its head: the way in, or a denial. Its body has not been read. `caller` tells
    /// what is known of it, in either case.
    pub(crate) fn admit(
        &self,
        request: &Request,
        now: Timestamp,
        clock: Instant,
        caller: &mut Caller,
    ) -> Result<Route, Denial> {
        let bad = |_| silent(&refusal::BAD_REQUEST);
        let host = request.header("host").map_err(bad)?;
        let origin = request.header("origin").map_err(bad)?;
        // From here on a page of ours reads why it is refused.
        let is_ours = origin.is_none_or(|origin| self.origins.allow(origin));
        caller.origin = origin.filter(|_| is_ours).map(str::to_owned);
        let authorization = request.header("authorization").map_err(bad)?;
        self.hosts
            .check(host.unwrap_or_default())
            .map_err(|error| match error {
                HostError::Malformed => silent(&refusal::BAD_REQUEST),
                HostError::Foreign => logged(&refusal::MISDIRECTED_REQUEST),
            })?;
        if !is_ours {
            return Err(logged(&refusal::FORBIDDEN_ORIGIN));
        }
        if request.method == Method::Options {
            return Err(answered(preflight(request)));
        }
        let is_keys = request.path == "/keys" || request.path.starts_with("/keys/");
        // A page that cannot read the answer, or a navigation, has no business with keys.
        let mode = request.header("sec-fetch-mode").map_err(bad)?;
        if is_keys && matches!(mode, Some("no-cors" | "navigate")) {
            return Err(logged(&refusal::FORBIDDEN_FETCH_MODE));
        }
        let (name, route) = self.find(request)?;
        caller.route = Some(name);
        if !is_keys {
            return Ok(route);
        }
        let pairing = self.recognise(authorization, now)?;
        caller.pairing = Some(pairing.clone());
        if matches!(route, Route::Resolve(_)) {
            self.take(pairing, clock)?;
        }
        Ok(route)
    }

    fn find(&self, request: &Request) -> Result<(&'static str, Route), Denial> {
        let Some(file) = File::at(&request.path) else {
            return find(request);
        };
        if file.reach == Reach::Loopback && !self.hosts.serve_a_page() {
            return Err(silent(&refusal::NOT_FOUND));
        }
        match request.method {
            Method::Get => Ok((file.route(), Route::Page(file))),
            _ => Err(wrong_method("GET, OPTIONS")),
        }
    }

    fn recognise(&self, authorization: Option<&str>, now: Timestamp) -> Result<String, Denial> {
        let unauthorised = |facts| {
            let Denial { reply, event } = logged(facts);
            let reply = reply.with("WWW-Authenticate", "Bearer");
            Denial { reply, event }
        };
        let value = authorization.ok_or_else(|| unauthorised(&refusal::MISSING_TOKEN))?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        // The scheme's case does not matter (RFC 9110, section 11.1).
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorised(&refusal::BAD_TOKEN));
        }
        match self.recogniser.recognise(token.trim_matches(' '), now) {
            Ok(Some(pairing)) => Ok(pairing),
            Ok(None) => Err(unauthorised(&refusal::BAD_TOKEN)),
            Err(error) => Err(silent(error.facts())),
        }
    }

    /// Only a caller with the right token spends from its bucket, or any open tab could starve the
    /// paired one. (tests/gateway_access.rs: `strangers_cannot_drain_the_bucket`)
    fn take(&self, pairing: String, clock: Instant) -> Result<(), Denial> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets
            .entry(pairing)
            .or_insert_with(|| Bucket::full(clock))
            .take(clock);
        taken.map_err(|wait| {
            let seconds = wait.as_millis().div_ceil(1000);
            let facts = &refusal::RATE_LIMITED;
            Denial {
                reply: Reply::error(facts).with("Retry-After", seconds.to_string()),
                event: Some((Kind::RateLimited, facts.code)),
            }
        })
    }

    /// Writes down what was recognised; now and then, and when the gateway ends.
    pub(crate) fn save_last_used(&self) {
        self.recogniser.save();
    }
}

/// Adds the CORS headers (Fetch standard, section 3.3): for an origin of ours, on errors too, and
/// never with `*` or credentials.
pub(crate) fn with_cors(reply: Reply, origin: Option<&str>) -> Reply {
    let reply = reply.varies("Origin");
    match origin {
        Some(origin) => reply
            .with("Access-Control-Allow-Origin", origin)
            .with("Access-Control-Expose-Headers", "retry-after"),
        None => reply,
    }
}

fn preflight(request: &Request) -> Reply {
    let reply = Reply::empty(204)
        .with("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
        .with("Access-Control-Allow-Headers", "authorization, content-type")
        .with("Access-Control-Max-Age", "600")
        .varies("Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network");
    match request.header("access-control-request-private-network") {
        Ok(Some("true")) => reply.with("Access-Control-Allow-Private-Network", "true"),
        _ => reply,
    }
}

/// The route of a request; its name has no id in it.
fn find(request: &Request) -> Result<(&'static str, Route), Denial> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    if segments.contains(&"") {
        return Err(silent(&refusal::NOT_FOUND));
    }
    let detail = || detail(&request.query);
    let id = || segments[1].to_owned();
    Ok(match (segments.as_slice(), &request.method) {
        (["healthz"], Method::Get) => ("GET /healthz", Route::Health),
        (["identity"], Method::Get) => ("GET /identity", Route::Identity),
        (["keys"], Method::Get) => ("GET /keys", Route::List(detail())),
        (["keys"], Method::Post) => ("POST /keys", Route::Add),
        (["keys", _], Method::Put) => ("PUT /keys/:id", Route::Update(id())),
        (["keys", _], Method::Delete) => ("DELETE /keys/:id", Route::Remove(id())),
        (["keys", _, "resolve"], Method::Post) => ("POST /keys/:id/resolve", Route::Resolve(id())),
        (["keys", _, "rotate"], Method::Post) => ("POST /keys/:id/rotate", Route::Rotate(id())),
        (["healthz" | "identity"], _) => return Err(wrong_method("GET, OPTIONS")),
        (["keys"], _) => return Err(wrong_method("GET, POST, OPTIONS")),
        (["keys", _], _) => return Err(wrong_method("PUT, DELETE, OPTIONS")),
        (["keys", _, "resolve" | "rotate"], _) => return Err(wrong_method("POST, OPTIONS")),
        _ => return Err(silent(&refusal::NOT_FOUND)),
    })
}

/// What a query asks for; one that says something else asks for nothing.
fn detail(query: &str) -> Detail {
    if query.split('&').any(|pair| pair == "include=last_used") {
        Detail::LastUse
    } else {
        Detail::Meta
    }
}

fn wrong_method(allow: &'static str) -> Denial {
    answered(Reply::error(&refusal::METHOD_NOT_ALLOWED).with("Allow", allow))
}

fn answered(reply: Reply) -> Denial {
    Denial { reply, event: None }
}

fn silent(facts: &Facts) -> Denial {
    answered(Reply::error(facts))
}

fn logged(facts: &'static Facts) -> Denial {
    Denial {
        reply: Reply::error(facts),
        event: Some((Kind::AuthFailure, facts.code)),
    }
}
