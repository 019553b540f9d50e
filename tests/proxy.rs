//! The manual's recipe for an https reverse proxy, with nginx in front of the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Child, Command, Stdio};

use support::gateway::{Gateway, bearer, pair};
use support::{Home, VALUE, free_ports, package_of, until};

/// The lines between this one of the manual and the end of the block.
fn recipe(first: &str) -> String {
    let manual = include_str!("../src/cli/manual/browsers.txt");
    let lines = manual.lines().skip_while(|line| line.trim() != first);
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).collect();
    assert!(!block.is_empty(), "no {first} in the manual");
    block.join("\n")
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{error}; {}", package_of(program.as_ref())));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn behind_an_https_proxy_the_gateway_answers_to_the_name_and_the_pages_of_its_owner() {
    let home = Home::new();
    let id = home.add("openai", "Prod", VALUE);
    let token = pair(&home, "");
    let serve = home
        .lf("gateway serve --keys-only --port 0")
        .env("LF_GATEWAY_EXTRA_HOSTS", "keys.example.com")
        .env("LF_GATEWAY_EXTRA_ORIGINS", r"https://keys\.example\.com");
    let gateway = Gateway::run(serve);
    let room = home.path().display().to_string();
    let (key, certificate) = (format!("{room}/key.pem"), format!("{room}/certificate.pem"));
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"];
    run(
        "openssl",
        &[&new[..], &["/CN=keys.example.com", "-keyout", &key, "-out", &certificate]].concat(),
    );
    let port = free_ports().next().unwrap();
    let server = recipe("server {")
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"))
        .replace("127.0.0.1:38080", &gateway.address.to_string())
        .replace("/etc/ssl/keys.example.com.key", &key)
        .replace("/etc/ssl/keys.example.com.pem", &certificate);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {room}/{name};"));
    let text = format!(
        "daemon off; master_process off; pid {room}/pid; error_log {room}/error.log;\n\
         events {{}}\nhttp {{ access_log off; {}\n{server}\n}}\n",
        temporary.concat()
    );
    fs::write(home.path().join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-c", &format!("{room}/nginx.conf"), "-e", &format!("{room}/error.log")]);
    let started = command.stdin(Stdio::null()).spawn();
    let started =
        started.unwrap_or_else(|error| panic!("{error}; {}", package_of("nginx".as_ref())));
    let _nginx = Nginx(started);
    let ask = |name: &str, words: &[&str]| {
        let (to, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}"));
        let path = format!("{url}{}", words[0]);
        let common = ["-sk", "-m", "20", "--resolve", &to, "-w", "\n%{http_code}", &path];
        let out = run("curl", &[&common, &words[1..]].concat());
        let (body, status) = out.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    };
    until("the proxy answers", || ask("keys.example.com", &["/healthz"]).0 == "200");
    assert!(ask("keys.example.com", &["/"]).1.contains("<html"), "its page");
    let authorization = format!("Authorization: {}", bearer(&token));
    let resolve = format!("/keys/{id}/resolve");
    for (origin, status) in
        [("https://keys.example.com", "200"), ("https://evil.example.com", "403"), ("null", "403")]
    {
        let origin = format!("Origin: {origin}");
        let words = [&resolve, "-X", "POST", "-H", &authorization, "-H", &origin];
        let (told, body) = ask("keys.example.com", &words);
        assert_eq!((told.as_str(), body.contains(VALUE)), (status, status == "200"), "{origin}");
    }
    // A name that is not the owner's is not ours, whatever the proxy adds.
    assert_eq!(ask("evil.example.com", &["/healthz"]).0, "421");
    let forwarded = ["/healthz", "-H", "X-Forwarded-Host: keys.example.com"];
    assert_eq!(ask("evil.example.com", &forwarded).0, "421");
}
