//! A stand-in for Supabase's PostgREST: the calls of functions alone, over a real database. It checks the
//! project's key and the JWT (HS256), takes the JWT's role for the transaction, and answers with the codes
//! and the shape of errors that PostgREST has.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use miniserde::json::{self, Object, Value};
use sha2::{Digest, Sha256};

use super::database::Database;

/// What the project's key is; it names the project, and is no secret.
pub const ANON_KEY: &str = "sb_publishable_0123456789";
const SECRET: &[u8] = b"the secret that the JWTs of this project are signed with";

/// A server on loopback, and what it was sent.
pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One that answers every request with these bytes, and closes.
    pub fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server { address, requests }
    }

    /// PostgREST over a database, which ends with the test and not with the threads here.
    pub fn postgrest(database: &Arc<Database>) -> Server {
        let database = Arc::downgrade(database);
        Server::answering(move |request| {
            let database = database.upgrade().unwrap();
            let (status, body) = call(&database, request).unwrap_or_else(|fault| fault);
            respond(status, &body)
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub fn respond(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Whatever\r\nContent-Type: application/json; charset=utf-8\r\n");
    format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Vec<u8>) {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.extend(byte),
            _ => return,
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let request = head + &String::from_utf8(body).unwrap();
    seen.lock().unwrap().push(request.clone());
    let _ = stream.write_all(&answer(&request));
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.split("\r\n\r\n").next().unwrap().lines().skip(1);
    let line =
        lines.find_map(|line| line.split_once(':').filter(|(it, _)| it.eq_ignore_ascii_case(name)));
    line.map(|(_, value)| value.trim())
}

type Answer = (u16, String);

fn call(database: &Database, request: &str) -> Result<Answer, Answer> {
    // Supabase's own gateway stands before PostgREST, and has another shape of errors.
    if header(request, "apikey") != Some(ANON_KEY) {
        return Err((
            401,
            r#"{"message":"Invalid API key","hint":"Double check your Supabase API key."}"#.into(),
        ));
    }
    let claims = match header(request, "authorization").and_then(|it| it.strip_prefix("Bearer ")) {
        Some(token) => verify(token)?,
        None => Object::new(),
    };
    let text = |object: &Object, name: &str| match object.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let role = text(&claims, "role");
    let role = if role.is_empty() { "anon" } else { &role };
    let line = request.lines().next().unwrap();
    let name = line.strip_prefix("POST /rest/v1/rpc/").and_then(|rest| rest.split(' ').next());
    let name =
        name.ok_or_else(|| fault(404, "PGRST125", "Invalid path specified in request URL"))?;
    let arguments: Object = json::from_str(request.split_once("\r\n\r\n").unwrap().1)
        .map_err(|_| fault(400, "PGRST102", "Empty or invalid json"))?;
    let is_there = format!("select to_regproc('public.{name}') is not null");
    if database.owner(&is_there) != "t" {
        let message = format!("Could not find the function public.{name} in the schema cache");
        return Err(fault(404, "PGRST202", &message));
    }
    let select = match name {
        "fn_get_my_key_secret" => "select to_json(public.fn_get_my_key_secret(p_key_id => :'id'))",
        _ => "select coalesce(json_agg(row), '[]') from public.fn_get_my_api_keys() row",
    };
    let sql = format!(
        "begin; set local role :\"role\"; select set_config('request.jwt.claims', :'claims', true) \\gset\n{select}; commit;"
    );
    let variables = [
        format!("role={role}"),
        format!("claims={}", json::to_string(&claims)),
        format!("id={}", text(&arguments, "p_key_id")),
    ];
    let mut words = vec!["-U", "authenticator"];
    words.extend(variables.iter().flat_map(|variable| ["-v", variable]));
    let told = match database.psql(&words, &sql) {
        Ok(value) => return Ok((200, value)),
        Err(told) => told,
    };
    let (_, told) = told.split_once("ERROR:  ").unwrap_or_else(|| panic!("{told}"));
    let (code, message) = told.lines().next().unwrap().split_once(": ").unwrap();
    let status = match code {
        "42501" if role == "anon" => 401,
        "42501" => 403,
        _ => 400,
    };
    Err(fault(status, code, message))
}

fn fault(status: u16, code: &str, message: &str) -> Answer {
    let [code, message] = [code, message].map(json::to_string);
    (status, format!("{{\"code\":{code},\"details\":null,\"hint\":null,\"message\":{message}}}"))
}

/// The claims of a JWT that is signed with our secret and has not expired.
fn verify(token: &str) -> Result<Object, Answer> {
    let refuse = |code, message| fault(401, code, message);
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        return Err(refuse("PGRST301", "Expected 3 parts in JWT; got another number"));
    };
    if sign(&format!("{head}.{claims}")) != signature {
        return Err(refuse("PGRST301", "No suitable key or wrong key type"));
    }
    let decode = |part| String::from_utf8(Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap();
    assert_eq!(decode(head), HEAD);
    let claims: Object = json::from_str(&decode(claims)).unwrap();
    let expires = match claims.get("exp") {
        Some(Value::Number(json::Number::U64(seconds))) => *seconds,
        other => panic!("{other:?}"),
    };
    if expires <= now() {
        return Err(refuse("PGRST303", "JWT expired"));
    }
    Ok(claims)
}

const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A session of this user: good for an hour, or over for one.
pub fn session(role: &str, sub: &str, is_over: bool) -> String {
    let expires = if is_over { now() - 3600 } else { now() + 3600 };
    let claims = format!(r#"{{"sub":"{sub}","role":"{role}","exp":{expires}}}"#);
    let text =
        [HEAD, &claims].map(|part| Base64UrlUnpadded::encode_string(part.as_bytes())).join(".");
    let signature = sign(&text);
    format!("{text}.{signature}")
}

/// HMAC-SHA256 (RFC 2104); the secret is shorter than a block.
fn sign(text: &str) -> String {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(SECRET).for_each(|(byte, secret)| *byte ^= secret);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    Base64UrlUnpadded::encode_string(&outer)
}
