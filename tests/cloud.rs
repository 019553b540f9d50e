//! LF Cloud Keys: the schema on a real PostgreSQL, and keys that come home from there, through a stand-in for
//! PostgREST, over http and https.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]
#![cfg(target_os = "linux")]

#[path = "cloud/database.rs"]
mod database;
#[path = "cloud/postgrest.rs"]
mod postgrest;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use database::{ALICE, ALICES, BOB, BOBS, Database, schema};
use postgrest::{ANON_KEY, Server, respond, session};
use support::pty::Terminal;
use support::{Home, Run, free_ports, package_of, until};

const NOT_FOUND: &str = "P0001: Key not found, revoked, or not owned by caller";
const NOT_DECRYPTED: &str = "P0001: Failed to decrypt key from vault";
const UNAUTHENTICATED: &str = "P0001: Unauthenticated: no lenser profile found";

/// SQL of this user's, as PostgREST would run it.
fn as_user(sub: &str, sql: &str) -> String {
    as_role("authenticated", &format!(r#"{{"sub":"{sub}","role":"authenticated"}}"#), sql)
}

fn as_role(role: &str, claims: &str, sql: &str) -> String {
    format!(
        "begin; set local role {role}; select set_config('request.jwt.claims', '{claims}', true) \\gset\n{sql}; commit;"
    )
}

fn secret(id: &str) -> String {
    format!("select public.fn_get_my_key_secret({id})")
}

/// Expects this error, and no value in it.
fn refused(told: Result<String, String>, error: &str) {
    let told = told.unwrap_err();
    assert!(told.contains(error), "no {error} in {told}");
    assert!(!told.contains(ALICES) && !told.contains(BOBS), "{told}");
}

fn id_of(database: &Database, user: &str) -> String {
    let id = database.owner(&format!(
        "select k.id from ai.keys k join lensers.profiles p on p.id = k.lenser_id where p.user_id = '{user}'"
    ));
    format!("'{id}'")
}

#[test]
fn a_key_is_given_to_its_owner_alone_while_it_is_active() {
    let home = Home::new();
    let database = Database::with_schema(&home);
    let ask = |sub: &str, sql: &str| database.sql("authenticator", &as_user(sub, sql));
    let (alices, bobs) = (id_of(&database, ALICE), id_of(&database, BOB));
    let log = || fs::read_to_string(home.path().join("database.log")).unwrap();
    let before = log().len();
    assert_eq!(ask(ALICE, &secret(&alices)).unwrap(), ALICES);
    assert_eq!(ask(&BOB.to_uppercase(), &secret(&bobs)).unwrap(), BOBS);
    let logged = log().split_off(before);
    assert!(logged.contains("fn_get_my_key_secret") && !logged.contains(ALICES), "{logged}");

    // Somebody else's, no such key, none.
    for id in [&*bobs, "'00000000-0000-4000-8000-000000000000'", "null"] {
        refused(ask(ALICE, &secret(id)), NOT_FOUND);
    }
    // Nobody, and who has no lenser.
    let other = "0000dead-0000-4000-8000-000000000003";
    for claims in
        ["", "{}", r#"{"sub":null}"#, r#"{"sub":"alice"}"#, &format!(r#"{{"sub":"{other}"}}"#)]
    {
        for sql in [&*secret(&alices), "select * from public.fn_get_my_api_keys()"] {
            let sql = as_role("authenticated", claims, sql);
            refused(database.sql("authenticator", &sql), UNAUTHENTICATED);
        }
    }
    // Roles that are no signed-in user.
    for role in ["anon", "service_role"] {
        let claims = format!(r#"{{"sub":"{ALICE}","role":"{role}"}}"#);
        for sql in [&*secret(&alices), "select * from public.fn_get_my_api_keys()"] {
            let told = database.sql("authenticator", &as_role(role, &claims, sql));
            refused(told, "42501: permission denied for function");
        }
    }

    // The list has the caller's keys, and no value.
    let list = ask(ALICE, "select json_agg(row) from public.fn_get_my_api_keys() row").unwrap();
    assert!(list.contains(r#""provider_key":"openai""#) && list.contains(r#""key_suffix":"cdef""#));
    assert!(!list.contains("anthropic") && !list.contains(ALICES), "{list}");

    // A vault that counts how often it is looked into, which no roll-back takes back.
    database.owner(
        "create sequence looks;
         alter view vault.decrypted_secrets rename to real;
         create view vault.decrypted_secrets as
           select id, case when nextval('looks') > 0 then decrypted_secret end as decrypted_secret from vault.real;",
    );
    let looks =
        || database.owner("select case when is_called then last_value else 0 end from looks");
    assert_eq!(ask(ALICE, &secret(&alices)).unwrap(), ALICES);
    assert_eq!(looks(), "1");
    for change in ["is_active = false", "is_active = true, revoked_at = now()", "is_active = false"]
    {
        database.owner(&format!("update ai.keys set {change} where id = {alices}"));
        refused(ask(ALICE, &secret(&alices)), NOT_FOUND);
        assert_eq!(ask(ALICE, "select count(*) from public.fn_get_my_api_keys()").unwrap(), "0");
    }
    refused(ask(ALICE, &secret(&bobs)), NOT_FOUND);
    assert_eq!(looks(), "1", "the vault was looked into");

    // A vault without the value, with another root key, and with damage.
    for damage in [
        "update vault.secrets set secret = substring(secret from 1 for 40)",
        "update vault.root_key set key = 'another'",
        "delete from vault.secrets",
        "update ai.keys set encrypted_key_id = null",
    ] {
        database.owner(damage);
        refused(ask(BOB, &secret(&bobs)), NOT_DECRYPTED);
    }
}

#[test]
fn there_is_no_other_way_to_the_plaintext() {
    let home = Home::new();
    let database = Database::with_schema(&home);
    let (alices, bobs) = (id_of(&database, ALICE), id_of(&database, BOB));
    for role in ["anon", "authenticated", "service_role"] {
        let claims = format!(r#"{{"sub":"{ALICE}","role":"{role}"}}"#);
        for sql in [
            "select * from vault.decrypted_secrets",
            "select * from vault.secrets",
            "select * from vault.root_key",
            "select vault.create_secret('mine')",
            "select * from ai.keys",
            "select * from ai.providers",
            "select * from lensers.profiles",
            "select lensers.get_auth_lenser_id()",
            &format!(
                "update ai.keys set lenser_id = (select lenser_id from ai.keys where id = {bobs})"
            ),
            &format!("insert into lensers.profiles (user_id) values ('{BOB}')"),
            "create or replace function public.fn_get_my_key_secret(p_key_id uuid) returns text language sql as 'select null'",
            "alter function public.fn_get_my_key_secret(uuid) security invoker",
            "grant select on vault.decrypted_secrets to authenticated",
            "create table public.mine (id int)",
            "copy vault.secrets to stdout",
            "select pg_read_file('postgresql.conf')",
        ] {
            let told = database.sql("authenticator", &as_role(role, &claims, sql));
            refused(told, "ERROR:  42501: ");
        }
    }

    // Whatever a caller puts before the real thing is not taken for it.
    database.owner("grant create, temporary on database postgres to authenticated");
    let names = format!(
        "create schema mine;
         create function mine.get_auth_lenser_id() returns pg_catalog.uuid language sql as 'select null::pg_catalog.uuid';
         create function mine.eq(pg_catalog.uuid, pg_catalog.uuid) returns boolean language sql as 'select true';
         create operator mine.= (leftarg = pg_catalog.uuid, rightarg = pg_catalog.uuid, function = mine.eq);
         create function mine.current_setting(pg_catalog.text, boolean) returns pg_catalog.text language sql
           as $$ select '{{\"sub\":\"{BOB}\"}}' $$;
         set search_path = mine, pg_catalog, public;"
    );
    let tables = format!(
        "create temporary table keys (id uuid, lenser_id uuid, encrypted_key_id uuid, is_active boolean, revoked_at timestamptz);
         create temporary view decrypted_secrets as select {bobs}::uuid as id, 'planted'::text as decrypted_secret;
         set search_path = pg_temp, public, ai, vault, lensers;"
    );
    let types = "create domain pg_temp.uuid as text default 'planted';
         create domain pg_temp.text as pg_catalog.text default 'planted';";
    for attack in [&*names, &tables, types, &[&*names, &tables, types].concat()] {
        let ask = |sql: &str| {
            let sql = as_user(ALICE, &format!("{attack} {sql}"));
            database.sql("authenticator", &sql.replace("commit", "rollback"))
        };
        assert_eq!(ask(&secret(&alices)).unwrap(), ALICES);
        refused(ask(&secret(&bobs)), NOT_FOUND);
        assert_eq!(ask("select count(*) from public.fn_get_my_api_keys()").unwrap(), "1");
    }

    // No role that the schema makes can log in.
    let logins = "select count(*) from pg_roles where rolcanlogin and rolname in ('anon', 'authenticated', 'service_role')";
    assert_eq!(database.owner(logins), "0");
}

#[test]
fn the_schema_is_applied_to_what_is_there_and_again() {
    let home = Home::new();
    let database = Database::empty(&home);
    let schema = schema(&home);
    // By the owner of a database who is no superuser, and where every new function is everybody's.
    database.owner(
        "create role anon nologin; create role authenticated nologin; create role service_role nologin;
         create role host login; alter database postgres owner to host;
         create role stranger;
         alter default privileges for role host grant all on functions to anon, service_role, stranger;
         alter default privileges for role host grant all on tables to anon, authenticated, service_role;",
    );
    let apply = || database.sql("host", &schema).unwrap();
    apply();
    let granted = "select string_agg(distinct grantee, ' ') from information_schema.routine_privileges
        where routine_name in ('fn_get_my_key_secret', 'fn_get_my_api_keys', 'get_auth_lenser_id', 'create_secret')";
    assert_eq!(database.owner(granted), "authenticated host");
    let granted =
        "select string_agg(distinct grantee, ' ') from information_schema.table_privileges
        where table_schema in ('ai', 'lensers', 'vault')";
    assert_eq!(database.owner(granted), "host");
    database.owner(&format!(
        "create role authenticator login noinherit; grant authenticated to authenticator;
         insert into ai.providers (key, display_name) values ('openai', 'OpenAI');
         insert into lensers.profiles (user_id) values ('{ALICE}');"
    ));
    let id = format!("'{}'", database.add(ALICE, "openai", "Prod", ALICES));
    let everything = "select json_build_array(
        (select json_agg(k) from ai.keys k), (select json_agg(s) from vault.secrets s), (select json_agg(r) from vault.root_key r),
        (select json_agg(p) from lensers.profiles p), (select json_agg(p) from ai.providers p))";
    let before = database.owner(everything);
    apply();
    assert_eq!(database.owner(everything), before);
    let resolve = as_user(ALICE, &secret(&id));
    assert_eq!(database.sql("authenticator", &resolve).unwrap(), ALICES);
    assert!(!before.contains(ALICES), "it is encrypted");
}

#[test]
fn supabases_own_vault_is_used_where_it_is() {
    let home = Home::new();
    let database = Database::empty(&home);
    // As Supabase has it, but for the encryption.
    database.owner(
        "create schema vault;
         create table vault.secrets (id uuid primary key default gen_random_uuid(), secret text);
         create view vault.decrypted_secrets as select id, secret, reverse(secret) as decrypted_secret from vault.secrets;
         create function vault.create_secret(new_secret text) returns uuid language sql
           as 'insert into vault.secrets (secret) values (reverse(new_secret)) returning id';",
    );
    database.owner(&schema(&home));
    assert_eq!(database.owner("select to_regclass('vault.root_key') is null"), "t");
    database.owner(&format!(
        "create role authenticator login noinherit; grant authenticated to authenticator;
         insert into ai.providers (key, display_name) values ('openai', 'OpenAI');
         insert into lensers.profiles (user_id) values ('{ALICE}');"
    ));
    let id = format!("'{}'", database.add(ALICE, "openai", "Prod", ALICES));
    let resolve = as_user(ALICE, &secret(&id));
    assert_eq!(database.sql("authenticator", &resolve).unwrap(), ALICES);
}

/// `lf keys import --cloud` from this server, with Alice's session.
fn import(home: &Home, url: &str, arguments: &str) -> Run {
    home.lf(&format!("keys import --cloud {arguments}"))
        .env("SUPABASE_URL", url)
        .env("SUPABASE_ANON_KEY", ANON_KEY)
        .env("SUPABASE_ACCESS_TOKEN", session("authenticated", ALICE, false))
}

/// One that no other test here gets.
fn free_port() -> u16 {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    free_ports().nth(TAKEN.fetch_add(1, Ordering::Relaxed)).unwrap()
}

/// nginx with TLS before a server, by a certificate of a CA of its own.
struct Tls {
    nginx: Child,
    url: String,
    authority: String,
}

impl Tls {
    fn before(home: &Home, server: &Server) -> Tls {
        let room = home.path().display().to_string();
        let openssl = |words: &str| {
            let done = Command::new("openssl").args(words.split(' ')).output();
            let done =
                done.unwrap_or_else(|error| panic!("{error}; {}", package_of("openssl".as_ref())));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        let new = "req -x509 -newkey rsa:2048 -nodes -days 2";
        openssl(&format!("{new} -subj /CN=Test -keyout {room}/ca.key -out {room}/ca.pem"));
        openssl(&format!(
            "{new} -subj /CN=localhost -CA {room}/ca.pem -CAkey {room}/ca.key -keyout {room}/key.pem -out {room}/own.pem \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ));
        let port = free_port();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {room}/{name};")).concat();
        let text = format!(
            "daemon off; master_process off; pid {room}/pid; error_log {room}/error.log;\n\
             events {{}}\nhttp {{ access_log off; {temporary}\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {room}/own.pem; ssl_certificate_key {room}/key.pem;\n\
             location / {{ proxy_pass {}; }} }} }}\n",
            server.url()
        );
        fs::write(home.path().join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-c", &format!("{room}/nginx.conf"), "-e", &format!("{room}/error.log")]);
        let nginx = command.stdin(Stdio::null()).spawn();
        let nginx =
            nginx.unwrap_or_else(|error| panic!("{error}; {}", package_of("nginx".as_ref())));
        until("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Tls { nginx, url: format!("https://127.0.0.1:{port}"), authority: format!("{room}/ca.pem") }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

#[test]
fn a_cloud_key_comes_home_over_http_and_over_https() {
    let home = Home::new();
    let database = Arc::new(Database::with_schema(&home));
    let id = database.add(ALICE, "anthropic", "", "sk-ant-alice-0123456789\\\"\u{e9}fgh");
    let server = Server::postgrest(&database);
    let tls = Tls::before(&home, &server);
    for (url, user) in [(&server.url(), "plain"), (&tls.url, "curl")] {
        let home = Home::new();
        let import =
            |arguments: &str| import(&home, url, arguments).env("CURL_CA_BUNDLE", &tls.authority);
        // One by the beginning of its id, then all.
        let first = import(&id[..8]).ok();
        assert!(
            first.out.starts_with("anthropic=") && first.out.lines().count() == 1,
            "{user}: {first}"
        );
        assert!(first.err.contains("revoke them there under Settings → API Keys"), "{first}");
        let rest = import("--all").ok();
        assert!(rest.out.starts_with("Prod=") && rest.out.lines().count() == 1, "{user}: {rest}");
        assert!(rest.err.contains("skipped: anthropic: "), "{rest}");
        assert_eq!(home.value("Prod"), ALICES, "{user}");
        assert_eq!(home.value("anthropic"), "sk-ant-alice-0123456789\\\"\u{e9}fgh", "{user}");
        for outcome in [&first, &rest] {
            let said = format!("{}{}{}", outcome.out, outcome.err, home.audit());
            assert!(!said.contains("0123456789") && !said.contains("eyJ"), "{said}");
        }
        let audit = home.audit();
        assert_eq!(audit.matches(r#""kind":"add""#).count(), 2, "{audit}");
        assert!(audit.contains(r#""command":"keys import""#), "{audit}");
        // The same again changes nothing, and asks for no value.
        let before = server.requests().len();
        let names = home.names();
        assert_eq!(import("--all --json").ok().out, "[]\n");
        assert_eq!((home.names(), server.requests().len()), (names, before + 1));
    }
    // The cloud's copies are there still.
    assert_eq!(database.owner("select count(*) from ai.keys where is_active"), "3");
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.starts_with("POST /rest/v1/rpc/fn_get_my_")));
}

#[test]
fn what_is_here_already_is_left_alone_and_what_is_called_the_same_is_told_apart() {
    let home = Home::new();
    let database = Arc::new(Database::with_schema(&home));
    let server = Server::postgrest(&database);
    let other = database.add(ALICE, "openai", "Prod", "sk-proj-other-0123456789abcdef");
    let long = "a very long label ".repeat(5);
    database.add(ALICE, "openai", &long, "sk-proj-long-0123456789abcdef");
    // The same value under another label.
    let id = home.add("openai", "Mine", ALICES);
    let imported = import(&home, &server.url(), "--all").ok();
    let lines: Vec<&str> = imported.out.lines().collect();
    assert!(imported.err.contains(&format!("{id} (openai \"Mine\") has this value")), "{imported}");
    assert_eq!(lines.len(), 2, "{imported}");
    assert_eq!(home.value(&format!("Prod ({})", &other[..8])), "sk-proj-other-0123456789abcdef");
    assert!(imported.out.contains(&format!("{}=", &long[..64])), "{imported}");
    let again = import(&home, &server.url(), "--all").ok();
    assert_eq!(again.out, "", "{again}");
    // A label that is not one key's, and what is no key's.
    for (name, count) in [("Prod", 2), ("nothing", 0)] {
        let refused = import(&home, &server.url(), name).fails(2, "usage");
        assert!(
            refused.err.contains(&format!("\"{name}\" names {count} of your active keys")),
            "{refused}"
        );
    }
}

#[test]
fn a_value_that_does_not_end_as_the_list_says_is_not_stored() {
    let home = Home::new();
    let database = Arc::new(Database::with_schema(&home));
    let server = Server::postgrest(&database);
    database.add(ALICE, "anthropic", "Good", "sk-ant-good-0123456789abcdef");
    let id = id_of(&database, ALICE);
    database.owner("update ai.keys set key_suffix = 'zzzz' where label = 'Prod'");
    let failed = import(&home, &server.url(), "--all").fails(1, "incomplete");
    assert!(
        failed.err.contains("Prod: the cloud gave a key that does not end in zzzz"),
        "{failed} {id}"
    );
    assert!(failed.out.starts_with("Good="), "{failed}");
    assert_eq!(home.names().len(), 1);
    // One that the vault does not open does not keep the others; and is a failure each time.
    database.owner("update ai.keys set encrypted_key_id = gen_random_uuid() where label = 'Prod'");
    for _ in 0..2 {
        let failed = import(&home, &server.url(), "--all").fails(1, "incomplete");
        let told = "Prod: the cloud refuses this key (P0001 Failed to decrypt key from vault); add the key again there";
        assert!(failed.err.contains(told), "{failed}");
    }
}

#[test]
fn a_person_is_asked_which_and_nobody_else_is() {
    let home = Home::new();
    let database = Arc::new(Database::with_schema(&home));
    let server = Server::postgrest(&database);
    let id = database.add(ALICE, "anthropic", "Second", "sk-ant-second-0123456789abcdef");
    let refused = import(&home, &server.url(), "").off_terminal().fails(2, "usage");
    assert!(refused.err.contains("--all"), "{refused}");
    assert!(server.requests().is_empty(), "nothing was asked");
    let asked = |answer: &str| {
        let mut terminal = Terminal::start(&import(&home, &server.url(), ""));
        terminal.sees("openai  Prod  …cdef").sees("Which ones?").types(answer);
        let (status, screen) = terminal.ends();
        assert!(!screen.contains("0123456789"), "{screen}");
        (status, screen)
    };
    assert_eq!(asked("\r").0, Some(2));
    assert_eq!(asked("nothing\r").0, Some(2));
    assert!(!home.keys().exists());
    assert_eq!(asked(&format!("{}\r", &id[..4])).0, Some(0));
    assert_eq!(home.value("Second"), "sk-ant-second-0123456789abcdef");
    let (status, screen) = asked("all\r");
    assert_eq!(status, Some(0), "{screen}");
    assert_eq!(home.value("Prod"), ALICES);
}

#[test]
fn each_refusal_of_the_cloud_has_its_sentence_and_its_way_out() {
    let home = Home::new();
    let database = Arc::new(Database::with_schema(&home));
    let server = Server::postgrest(&database);
    let url = server.url();
    let refuses = |run: Run, code: &str, words: &[&str]| {
        let refused = run.fails(1, code);
        for word in words {
            assert!(refused.err.contains(word), "no {word} in {refused}");
        }
        assert!(!refused.err.contains("eyJ") && refused.out.is_empty(), "{refused}");
    };
    let with = |token: String| import(&home, &url, "--all").env("SUPABASE_ACCESS_TOKEN", token);
    let expired = session("authenticated", ALICE, true);
    let words = ["SUPABASE_ACCESS_TOKEN", "PGRST303 JWT expired", "renew it", "lf never renews it"];
    refuses(with(expired), "cloud_session", &words);
    // Asked once: nothing was refreshed.
    assert_eq!(server.requests().len(), 1);
    let mut forged = session("authenticated", BOB, false);
    forged.push('x');
    refuses(with(forged), "cloud_session", &["PGRST301", "renew it"]);
    let words = ["P0001 Unauthenticated: no lenser profile found", "sign in"];
    refuses(with(session("authenticated", "nobody", false)), "cloud_session", &words);
    let words = ["42501 permission denied", "signed-in user"];
    refuses(with(session("anon", ALICE, false)), "cloud_session", &words);
    refuses(with(session("service_role", ALICE, false)), "cloud_session", &words);
    let key = import(&home, &url, "--all").env("SUPABASE_ANON_KEY", "sb_publishable_other");
    refuses(key, "cloud_refused", &["401 Invalid API key", "SUPABASE_ANON_KEY", "API settings"]);
    database.owner("drop function public.fn_get_my_api_keys()");
    let words = ["PGRST202", "public.fn_get_my_api_keys", "lf cloud schema"];
    refuses(import(&home, &url, "--all"), "cloud_refused", &words);
    assert!(!home.keys().exists());
}

#[test]
fn what_is_not_the_cloud_gets_no_second_request_and_has_its_sentence() {
    let home = Home::new();
    let page =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in to this network</html>";
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let blocked = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html>blocked</html>";
    let long = [&respond(200, "")[..], &vec![b' '; 2 * 1024 * 1024]].concat();
    for (answer, words) in [
        (page.to_vec(), "page 200"),
        (moved.into(), "redirects, and lf does not follow"),
        (blocked.into(), "page 403"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "does not speak HTTP"),
        (respond(200, "[{\"id\":\"cut short"), "page 200"),
        (respond(200, "[]")[..20].to_vec(), "does not speak HTTP"),
        (
            respond(503, "{\"code\":\"PGRST002\",\"message\":\"Could not query the database\"}"),
            "PGRST002",
        ),
        (long, "page 200"),
    ] {
        let server = Server::answering(move |_| answer.clone());
        let failed = import(&home, &server.url(), "--all").go();
        assert_eq!(failed.status, Some(1), "{failed}");
        assert!(
            failed.err.contains(words) && failed.err.contains("lf: cloud_"),
            "{words}: {failed}"
        );
        assert_eq!(server.requests().len(), 1, "{failed}");
    }
    // Nobody, and somebody who says nothing.
    let port = free_port();
    let nobody = import(&home, &format!("http://127.0.0.1:{port}"), "--all");
    let nobody = nobody.fails(1, "cloud_unreachable");
    assert!(nobody.err.contains("nothing answers on"), "{nobody}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let late = import(&home, &url, "--all").fails(1, "cloud_unreachable");
    assert!(late.err.contains("within 10 seconds"), "{late}");
    assert!(!home.keys().exists());
}

#[test]
fn https_is_refused_without_trust_and_without_curl() {
    let home = Home::new();
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(|_| moved.into());
    let tls = Tls::before(&home, &server);
    let import = |arguments: &str| import(&home, &tls.url, arguments);
    // The user's own configuration does not turn checks off.
    fs::write(home.path().join(".curlrc"), "insecure\nlocation\n").unwrap();
    let untrusted = import("--all").fails(1, "cloud_unreachable");
    assert!(untrusted.err.contains("CURL_CA_BUNDLE"), "{untrusted}");
    assert!(server.requests().is_empty());
    let redirected =
        import("--all").env("CURL_CA_BUNDLE", &tls.authority).fails(1, "cloud_unreachable");
    assert!(redirected.err.contains("redirects"), "{redirected}");
    assert_eq!(server.requests().len(), 1);
    let missing = import("--all").env("CURL_CA_BUNDLE", "/nowhere").fails(1, "cloud_unreachable");
    assert!(missing.err.contains("CURL_CA_BUNDLE"), "{missing}");
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let without = import("--all").env("PATH", &empty).fails(1, "cloud_unreachable");
    assert!(without.err.contains("the program curl, which is missing; install it"), "{without}");
    let nobody = format!("https://127.0.0.1:{}", free_port());
    let nobody = self::import(&home, &nobody, "--all").fails(1, "cloud_unreachable");
    assert!(nobody.err.contains("nothing answers on"), "{nobody}");
}

#[test]
fn curl_gets_what_is_secret_on_its_standard_input_alone() {
    let home = Home::new();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let curl = bin.join("curl");
    let text = "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/argv\"\ncat > \"$HOME/input\"\nenv > \"$HOME/env\"\nprintf '[]\\n200'\n";
    fs::write(&curl, text).unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let token = session("authenticated", ALICE, false);
    let imported = import(&home, "https://cloud.example/", "--all")
        .env("PATH", path)
        .env("SUPABASE_ACCESS_TOKEN", &token)
        .ok();
    assert!(imported.err.contains("no keys to import"), "{imported}");
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
    assert_eq!(read("argv"), "-q\n--config\n-\n");
    assert!(!read("env").contains("LENSERFIGHT_KEYS_PASSPHRASE"));
    let input = read("input");
    for line in [
        "proto = \"=https\"",
        "tlsv1.2",
        "max-time = 10",
        "max-filesize = 1048576",
        "url = \"https://cloud.example/rest/v1/rpc/fn_get_my_api_keys\"",
        &format!("header = \"Authorization: Bearer {token}\""),
        &format!("header = \"apikey: {ANON_KEY}\""),
        "data-raw = \"{}\"",
    ] {
        assert!(input.lines().any(|it| it == line), "no {line} in {input}");
    }
    assert!(!input.contains("location"), "{input}");
}

#[test]
fn http_leads_to_this_machine_alone() {
    let home = Home::new();
    for url in [
        "http://192.0.2.1",
        "http://192.0.2.1:54321",
        "http://example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://me@127.0.0.1",
        "http://127.0.0.1:80@192.0.2.1",
        "https://me:pass@example.com",
        "https://example.com/\"\nurl = \"http://192.0.2.1",
        "https:///path",
        "https://",
        "ftp://127.0.0.1",
        "127.0.0.1:54321",
        "https://example.com?x",
    ] {
        let refused = import(&home, url, "--all").fails(2, "usage");
        assert!(refused.err.contains("SUPABASE_URL"), "{url}: {refused}");
    }
    let server = Server::answering(|_| respond(200, "[]"));
    let port = server.address.port();
    for url in [format!("http://localhost:{port}/"), format!("http://127.0.0.1:{port}/below//")] {
        import(&home, &url, "--all").ok();
    }
    let requests = server.requests();
    assert!(requests[0].starts_with("POST /rest/v1/rpc/fn_get_my_api_keys HTTP/1.0\r\n"));
    assert!(requests[0].contains(&format!("Host: localhost:{port}\r\n")));
    assert!(requests[1].starts_with("POST /below/rest/v1/rpc/"), "{}", requests[1]);
}

#[test]
fn the_session_is_the_first_jwt_of_the_variables_and_of_the_configuration() {
    let home = Home::new();
    let server = Server::answering(|_| respond(200, "[]"));
    let bare = || {
        let run = home.lf("keys import --cloud --all").env("SUPABASE_URL", server.url());
        run.env("SUPABASE_PUBLISHABLE_KEY", ANON_KEY)
    };
    let [first, second, third, fourth] =
        ["a", "b", "c", "d"].map(|sub| session("authenticated", sub, false));
    let none = bare().fails(1, "cloud_session");
    assert!(none.err.contains("LF_ACCESS_TOKEN") && none.err.contains("config"), "{none}");
    // The predecessor's token for programs is no session.
    let other = bare().env("LENSERFIGHT_API_KEY", "lf_dev_0123456789").fails(1, "cloud_session");
    assert!(!other.err.contains("lf_dev"), "{other}");
    let root = home.path().join(".lenserfight");
    fs::create_dir_all(root.join("profiles")).unwrap();
    fs::write(root.join("config.json"), format!("{{\"authToken\":\"{third}\"}}")).unwrap();
    let profile = format!("{{\"access_token\":\"{fourth}\"}}");
    fs::write(root.join("profiles/work.json"), profile).unwrap();
    let cases = [
        (bare(), &third),
        (bare().env("LF_PROFILE", "work"), &fourth),
        (bare().env("LENSERFIGHT_API_KEY", "lf_dev_0123456789"), &third),
        (bare().env("LF_ACCESS_TOKEN", &second), &second),
        (bare().env("LF_ACCESS_TOKEN", &second).env("SUPABASE_ACCESS_TOKEN", &first), &first),
        (bare().env("LF_ACCESS_TOKEN", &second).env("SUPABASE_ACCESS_TOKEN", "sbp_0123"), &second),
    ];
    for (run, token) in cases {
        let before = server.requests().len();
        run.ok();
        let request = &server.requests()[before];
        assert!(request.contains(&format!("\r\nAuthorization: Bearer {token}\r\n")), "{request}");
    }
    for (name, value) in
        [("SUPABASE_URL", ""), ("SUPABASE_PUBLISHABLE_KEY", ""), ("SUPABASE_ANON_KEY", "a\r\nb: c")]
    {
        let refused = bare().env(name, value).fails(2, "usage");
        assert!(refused.err.contains(name), "{refused}");
    }
}

#[test]
fn one_source_is_named_and_all_is_the_clouds() {
    let home = Home::new();
    for arguments in [
        "--cloud --env OPENAI_API_KEY",
        "--cloud --dotenv .env",
        "--cloud --all Prod",
        "--all",
        "--env --all OPENAI_API_KEY",
        "--dotenv .env --all",
    ] {
        let refused = home.lf(&format!("keys import {arguments}")).fails(2, "usage");
        assert!(refused.err.contains("--cloud"), "{refused}");
    }
}
