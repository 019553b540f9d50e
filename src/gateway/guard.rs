//! Decides which requests are admitted: it checks host, origin, preflight, fetch mode, route,
//! token, scope, bucket and place, in this order. Only this file writes CORS headers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiny_http::Method;

use super::{http::Reply, http::Request, page::File};
use crate::base::{Timestamp, bucket::Bucket, bucket::Rate, lock::lock};
use crate::error::{Error, ErrorInfo, refusal};
use crate::gateway::{Hosts, Origins, Pairing, Pairings, origin, pairing::Recogniser};
use crate::vault::{audit::Kind, key::KeyId};

/// Everything that decides.
pub(crate) struct Guard {
    hosts: Hosts,
    origins: Origins,
    pub(crate) recogniser: Arc<Recogniser>,
    buckets: Mutex<HashMap<(String, Rate), Bucket>>,
    /// By the name of a pairing: each of its requests that may derive a key holds one more of
    /// these.
    places: Mutex<HashMap<String, Arc<()>>>,
}

/// What the guard has found out about a request so far.
#[derive(Default)]
pub(crate) struct Caller {
    /// The page's origin, if it is an allowed one.
    pub(crate) origin: Option<String>,
    /// The route's name.
    route: Option<&'static str>,
    /// The pairing that the token belongs to.
    pub(crate) pairing: Option<Arc<Pairing>>,
    /// Held by a request that may derive a key.
    place: Option<Arc<()>>,
}

impl Caller {
    /// The pairing and the route, once the token was recognised.
    pub(crate) fn paired(&self) -> Option<(String, &'static str)> {
        let name = self.pairing.as_ref().map(|pairing| pairing.name.as_str().to_owned());
        name.zip(self.route)
    }

    /// For the audit log.
    pub(crate) fn context(&self) -> Vec<(&str, &str)> {
        let mut context = vec![("route", self.route.unwrap_or("-"))];
        context.extend(self.origin.as_deref().map(|origin| ("origin", origin)));
        context.extend(self.pairing.as_ref().map(|pairing| ("pairing", pairing.name.as_str())));
        context
    }
}

/// An answer without CORS headers, and what the audit log should say of it.
pub(crate) type Answer = (Reply, Option<Told>);

/// The kind, the key, and the error's code if it failed.
pub(crate) type Told = (Kind, Option<KeyId>, Option<&'static str>);

/// What is asked for. Ids are as they were sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    /// `GET /healthz`
    Health,
    /// `GET /identity`
    Identity,
    /// `GET /`, and the files that it asks for
    Page(&'static File),
    /// `GET /pairing`
    Pairing,
    /// `GET /keys`
    List,
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

impl Guard {
    /// A guard with full buckets.
    pub(crate) fn new(hosts: Hosts, origins: Origins, pairings: Pairings) -> Guard {
        let recogniser = Recogniser::new(pairings);
        Guard { hosts, origins, recogniser, buckets: Mutex::default(), places: Mutex::default() }
    }

    /// Checks a request by its head: its route, or the answer that denies it. Its body has not been read. `caller`
    /// has what was found out, in either case.
    pub(crate) fn admit(
        &self,
        request: &Request,
        now: Timestamp,
        clock: Instant,
        caller: &mut Caller,
    ) -> Result<Route, Answer> {
        let host = request.header("host").map_err(silent)?;
        let origin = request.header("origin").map_err(silent)?;
        // From here on a page of an allowed origin can read why it is refused.
        let is_ours = origin.is_none_or(|origin| self.origins.allow(origin));
        caller.origin = origin.filter(|_| is_ours).map(str::to_owned);
        let authorization = request.header("authorization").map_err(silent)?;
        match self.hosts.check(request.at, host.unwrap_or_default()) {
            Ok(true) => {}
            Ok(false) => return Err(logged(&refusal::MISDIRECTED_REQUEST)),
            Err(malformed) => return Err(silent(malformed)),
        }
        if !is_ours {
            return Err(logged(&refusal::FORBIDDEN_ORIGIN));
        }
        if request.method == Method::Options {
            return Err((preflight(request), None));
        }
        let is_keys = ["/keys", "/pairing"].contains(&&*request.path);
        let is_keys = is_keys || request.path.starts_with("/keys/");
        // A page that cannot read the answer, or a navigation, gets no keys.
        let mode = request.header("sec-fetch-mode").map_err(silent)?;
        if is_keys && matches!(mode, Some("no-cors" | "navigate")) {
            return Err(logged(&refusal::FORBIDDEN_FETCH_MODE));
        }
        let (name, route) = find(request)?;
        caller.route = Some(name);
        if !is_keys {
            return Ok(route);
        }
        let pairing = caller.pairing.insert(self.recognise(authorization, now)?);
        if let Some(rate) = check_scope(&route, pairing)? {
            caller.place = Some(self.take(pairing.name.as_str(), rate, clock)?);
        }
        Ok(route)
    }

    fn recognise(&self, header: Option<&str>, now: Timestamp) -> Result<Arc<Pairing>, Answer> {
        let unauthorised = |info| {
            let (reply, event) = logged(info);
            (reply.with("WWW-Authenticate", "Bearer"), event)
        };
        let value = header.ok_or_else(|| unauthorised(&refusal::MISSING_TOKEN))?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        // The scheme's case does not matter (RFC 9110, section 11.1).
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorised(&refusal::BAD_TOKEN));
        }
        let recognised = self.recogniser.recognise(token.trim_matches(' '), now);
        recognised.map_err(silent)?.ok_or_else(|| unauthorised(&refusal::BAD_TOKEN))
    }

    /// Takes a token from a bucket of the pairing, and one of its places.
    ///
    /// Only a caller with the right token spends from the bucket, or any open tab could starve the
    /// paired one. (tests/gateway_access.rs: `strangers_cannot_drain_the_bucket`)
    ///
    /// Without a limit of places, a page that asks on all connections at once would leave none to
    /// others.
    /// (tests/limits.rs: `turns_go_round_the_pairings`)
    fn take(&self, pairing: &str, rate: Rate, clock: Instant) -> Result<Arc<()>, Answer> {
        let mut buckets = lock(&self.buckets);
        let bucket = buckets.entry((pairing.to_owned(), rate));
        let taken = bucket.or_insert_with(|| Bucket::full(rate, clock)).take(clock);
        taken.map_err(|wait| limited(wait.as_millis().div_ceil(1000)))?;
        let mut places = lock(&self.places);
        let place = places.entry(pairing.to_owned()).or_default();
        // One of these is the table's own.
        let has_room = Arc::strong_count(place) <= MOST_PLACES;
        if has_room { Ok(Arc::clone(place)) } else { Err(limited(1)) }
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

/// The one place where a pairing's scope is enforced; of what it may list, `GET /keys` shows the
/// part that this lets in. A key outside of it is as one that is not there. What the act takes from
/// a bucket, if it takes something.
/// (tests/scope.rs: `every_act_and_every_key_outside_of_a_scope_is_refused`)
fn check_scope(route: &Route, pairing: &Pairing) -> Result<Option<Rate>, Answer> {
    let (act, id, rate) = match route {
        Route::Health | Route::Identity | Route::Page(_) | Route::Pairing => return Ok(None),
        Route::List => ("list", None, None),
        Route::Add => ("add", None, Some(CHANGES)),
        Route::Update(id) => ("update", Some(id), Some(CHANGES)),
        Route::Remove(id) => ("remove", Some(id), Some(CHANGES)),
        Route::Rotate(id) => ("rotate", Some(id), Some(CHANGES)),
        Route::Resolve(id) => ("resolve", Some(id), Some(VALUES)),
    };
    match id {
        _ if !pairing.allows(act) => Err(logged(&refusal::NOT_PERMITTED)),
        Some(id) if !pairing.has(id) => Err(logged(Error::KeyNotFound(String::new()).info())),
        _ => Ok(rate),
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
fn find(request: &Request) -> Result<(&'static str, Route), Answer> {
    let method = match &request.method {
        Method::Head => &Method::Get,
        method => method,
    };
    match (File::at(&request.path), method) {
        (None, _) => {}
        // All but the client is on loopback addresses alone: the page would send tokens and values over
        // plain HTTP.
        (Some(file), _) if file.path != "/client.js" && !origin::is_for_pages(request.at) => {
            return Err(silent(&refusal::NOT_FOUND));
        }
        (Some(file), Method::Get) => return Ok((file.path, Route::Page(file))),
        (Some(_), _) => return Err(wrong_method("GET, HEAD, OPTIONS")),
    }
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    let mut allow = String::new();
    for (name, route) in &ROUTES {
        let (verb, path) = name.split_once(' ').unwrap_or_default();
        let parts = path.split('/').skip(1);
        let fits =
            |(part, given): (&str, &&str)| part == *given || (part == ID && !given.is_empty());
        if parts.clone().count() != segments.len() || !parts.zip(&segments).all(fits) {
            continue;
        }
        if verb == method.as_str() {
            return Ok((name, route(segments.get(1).copied().unwrap_or_default())));
        }
        allow += verb;
        allow += if verb == "GET" { ", HEAD, " } else { ", " };
    }
    if allow.is_empty() {
        return Err(silent(&refusal::NOT_FOUND));
    }
    Err(wrong_method(allow + "OPTIONS"))
}

fn wrong_method(allow: impl Into<String>) -> Answer {
    (Reply::error(&refusal::METHOD_NOT_ALLOWED).with("Allow", allow), None)
}

fn limited(seconds: u128) -> Answer {
    let info = &refusal::RATE_LIMITED;
    let reply = Reply::error(info).with("Retry-After", seconds.to_string());
    (reply, Some((Kind::RateLimited, None, Some(info.code))))
}

fn silent(info: &'static ErrorInfo) -> Answer {
    (Reply::error(info), None)
}

fn logged(info: &'static ErrorInfo) -> Answer {
    (Reply::error(info), Some((Kind::AuthFailure, None, Some(info.code))))
}

/// The routes of the API, by method and path, and what they make of the id in it. `lf gateway openapi`
/// describes these.
pub(crate) const ROUTES: [(&str, Make); 9] = [
    ("GET /healthz", |_| Route::Health),
    ("GET /identity", |_| Route::Identity),
    ("GET /pairing", |_| Route::Pairing),
    ("GET /keys", |_| Route::List),
    ("POST /keys", |_| Route::Add),
    ("PUT /keys/:id", |id| Route::Update(id.to_owned())),
    ("DELETE /keys/:id", |id| Route::Remove(id.to_owned())),
    ("POST /keys/:id/resolve", |id| Route::Resolve(id.to_owned())),
    ("POST /keys/:id/rotate", |id| Route::Rotate(id.to_owned())),
];
type Make = fn(&str) -> Route;
/// The part of a path that is a key's id.
pub(crate) const ID: &str = ":id";
/// Five values at once, and 60 a minute.
const VALUES: Rate = Rate { capacity: 5, period: Duration::from_secs(1) };
/// Ten changes at once, and 30 a minute.
const CHANGES: Rate = Rate { capacity: 10, period: Duration::from_secs(2) };
/// Requests of one pairing that derive a key, or wait for their turn to.
const MOST_PLACES: usize = 8;

#[cfg(test)]
mod tests;
