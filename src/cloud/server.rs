//! The cloud as the environment names it, calls of its functions, and what its refusals mean: `told.txt`
//! has a line for each (`HOW IT BEGINS :: WHICH ERROR :: SENTENCE`), and the first that fits counts.

use miniserde::{Deserialize, json, json::Object};

use super::post::Url;
use crate::base::{Secret, json::text_of, shown};
use crate::error::{Error, Result};
use crate::gateway::precondition;
use crate::system::environment::{Environment, SESSION_VARIABLES};

/// Where the cloud is, and what lf shows it.
pub(crate) struct Server {
    url: Url,
    headers: Secret,
    /// Where the project's key is from.
    key: String,
    /// Where the session is from.
    session: String,
}

impl Server {
    /// By the variables that the predecessor has. The session is another login's, and lf never refreshes
    /// it: the refresh token changes with each use, which would end that login.
    pub(crate) fn find(environment: &Environment) -> Result<Server> {
        let given = |names: &[&str]| {
            let missing = format!("{} is not set; --cloud needs it", names.join(" or "));
            first(environment, names).ok_or_else(|| Error::usage(missing))
        };
        let url = Url::parse(given(&["SUPABASE_URL"])?.1.expose())?;
        let (key, value) = given(&KEYS)?;
        if !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage(format!("the value of {key} is not a key of Supabase")));
        }
        let (session, token) = session(environment)?;
        let (value, token) = (value.expose(), token.expose());
        let headers = format!("apikey: {value}\r\nAuthorization: Bearer {token}\r\n{JSON}");
        Ok(Server { url, headers: Secret::new(headers), key, session })
    }

    /// What a function returns.
    pub(super) fn call<T: Deserialize>(&self, function: &str, arguments: &str) -> Result<T> {
        let path = format!("/rest/v1/rpc/{function}");
        let what = match self.url.post(&path, &self.headers, arguments) {
            Ok((status, body)) => match json::from_str(body.expose()) {
                Ok(value) if status == 200 => return Ok(value),
                _ => fault(status, body.expose()),
            },
            Err(what) => what,
        };
        let mut told = TOLD.lines().filter_map(|line| line.split_once(" :: "));
        let told = told.find(|(begin, _)| format!("{what}.").starts_with(begin));
        let told = told.and_then(|(_, told)| told.split_once(" :: "));
        let (kind, sentence) = told.unwrap_or_default();
        let sentence = sentence.replace("{place}", &self.url.text).replace("{key}", &self.key);
        let sentence = sentence.replace("{session}", &self.session).replace("{what}", &what);
        Err(match kind {
            "session" => Error::CloudSession(sentence),
            "unreachable" => Error::CloudUnreachable(sentence),
            _ => Error::CloudRefused(sentence),
        })
    }
}

/// What an answer says instead of a value: PostgREST's code and message, or the status and message of what
/// stands before it, or else the status of some page.
fn fault(status: u16, body: &str) -> String {
    let fault = json::from_str::<Object>(body).unwrap_or_default();
    let text = |name: &str| text_of(&fault, name).map(shown);
    match (text("code").unwrap_or_else(|| status.to_string()), text("message")) {
        (code, Some(message)) => format!("{code} {message}"),
        _ => format!("page {status}"),
    }
}

/// The first of these variables that is set to text, and its value.
fn first(environment: &Environment, names: &[&str]) -> Option<(String, Secret)> {
    let value = |name: &&str| Some(((*name).to_owned(), environment.secret(name).ok()??));
    names.iter().find_map(value)
}

/// Where the session is from, and its token: the first JWT. Where the predecessor takes one, it takes
/// tokens of other kinds too.
fn session(environment: &Environment) -> Result<(String, Secret)> {
    let config = format!("the configuration in {}", environment.root()?.display());
    let of_variables = SESSION_VARIABLES.iter().filter_map(|name| first(environment, &[name]));
    let of_config =
        precondition::session(environment).map(|token| (config.clone(), Secret::new(token)));
    let is_jwt = |token: &str| token.starts_with("eyJ") && token.matches('.').count() == 2;
    let is_plain =
        |token: &str| token.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let mut found = of_variables.chain(of_config);
    let session = found.find(|(_, it)| is_jwt(it.expose()) && is_plain(it.expose()));
    session.ok_or_else(|| {
        let variables = SESSION_VARIABLES.join(", ");
        Error::CloudSession(format!(
            "neither {variables} nor {config} has a session (a JWT); {SIGN_IN}"
        ))
    })
}

const KEYS: [&str; 2] = ["SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEY"];
const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";
const SIGN_IN: &str = "sign in with the predecessor (lf auth login), or set SUPABASE_ACCESS_TOKEN";
const TOLD: &str = include_str!("told.txt");
