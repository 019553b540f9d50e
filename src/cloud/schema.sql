-- LF Cloud Keys, in PostgreSQL 15 or newer: what `lf keys import --cloud` calls, and what that stands on.
--
--     lf cloud schema | psql -v ON_ERROR_STOP=1 DATABASE
--
-- It takes an empty database, a Supabase project, or a database that has had it before: existing tables
-- stay, and only the two functions at the end are replaced. It is one transaction, for the owner of the
-- database or a superuser.
--
-- Two functions are for clients, over PostgREST, and granted to the role authenticated alone:
--   fn_get_my_api_keys()          the caller's active keys, without values
--   fn_get_my_key_secret(uuid)    the value of one of them
-- No client reads a table or a view, or calls another function of this. PostgREST checks the JWT and puts
-- its claims into request.jwt.claims. Anyone who can send SQL of their own as authenticated can put others
-- there; so that role has no login, and is PostgREST's alone.
--
-- A user of your own, and a key (a value in a statement may get into the log of the server; see log_statement):
--   insert into lensers.profiles (user_id) values ('the sub of the JWT');
--   insert into ai.providers (key, display_name) values ('openai', 'OpenAI');
--   insert into ai.keys (lenser_id, provider_id, label, key_suffix, encrypted_key_id)
--     select lenser.id, provider.id, 'Prod', right('sk-…', 4), vault.create_secret('sk-…')
--     from lensers.profiles lenser, ai.providers provider
--     where lenser.user_id = 'the sub of the JWT' and provider.key = 'openai';
-- And revoked:
--   update ai.keys set is_active = false, revoked_at = now() where id = '…';

begin;

set local client_min_messages = warning;
-- Nothing that somebody has put into another schema is taken for what is meant here.
set local search_path = pg_catalog, pg_temp;

-- Takes every right to an object from every role but the one that makes it, whatever the default privileges
-- of this database have granted.
create or replace function pg_temp.close(object text) returns void
language plpgsql
as $close$
declare
  role text;
begin
  for role in select 'public' union all select quote_ident(rolname) from pg_roles where rolname <> current_user loop
    execute format('revoke all on %s from %s cascade', object, role);
  end loop;
end
$close$;

create schema if not exists extensions;
create schema if not exists vault;
create schema if not exists lensers;
create schema if not exists ai;

do $roles$
declare
  role text;
begin
  foreach role in array array['anon', 'authenticated', 'service_role'] loop
    if to_regrole(role) is null then
      execute format('create role %I nologin noinherit', role);
    end if;
  end loop;
end
$roles$;

-- The vault: Supabase's own where it is. Otherwise pgcrypto encrypts with AES-256 under a random key that no
-- role is granted. A dump of everything has that key beside what it opens: leave it out with
-- pg_dump --exclude-table-data=vault.root_key, and keep a copy of it elsewhere.
do $vault$
declare
  crypto text;
begin
  if to_regclass('vault.decrypted_secrets') is not null then
    return;
  end if;
  create extension if not exists pgcrypto with schema extensions;
  select quote_ident(nspname) into strict crypto
    from pg_extension join pg_namespace on pg_namespace.oid = extnamespace
    where extname = 'pgcrypto';

  execute format($sql$
    create table vault.root_key (
      is_it boolean primary key default true check (is_it),
      key text not null default encode(%1$s.gen_random_bytes(32), 'hex')
    )
  $sql$, crypto);
  insert into vault.root_key default values;

  create table vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text unique,
    description text not null default '',
    secret bytea not null,
    created_at timestamptz not null default now()
  );

  execute format($sql$
    create view vault.decrypted_secrets as
      select id, name, description, created_at, %1$s.pgp_sym_decrypt(secret, key) as decrypted_secret
      from vault.secrets, vault.root_key
  $sql$, crypto);

  -- Named and called as Supabase's.
  execute format($sql$
    create function vault.create_secret(new_secret text, new_name text default null, new_description text default '')
    returns uuid language sql
    begin atomic
      insert into vault.secrets (secret, name, description)
        select %1$s.pgp_sym_encrypt(new_secret, key, 'cipher-algo=aes256'), new_name, new_description
        from vault.root_key
        returning id;
    end
  $sql$, crypto);

  perform pg_temp.close('schema vault');
  perform pg_temp.close('vault.root_key, vault.secrets, vault.decrypted_secrets');
  perform pg_temp.close('function vault.create_secret(text, text, text)');
end
$vault$;

-- Who owns keys, who they are for, and the keys; their values are in the vault.
do $tables$
begin
  if to_regclass('lensers.profiles') is null then
    create table lensers.profiles (
      id uuid primary key default gen_random_uuid(),
      user_id uuid not null unique, -- the JWT's sub
      created_at timestamptz not null default now()
    );
    alter table lensers.profiles enable row level security;
    perform pg_temp.close('lensers.profiles');
  end if;

  if to_regclass('ai.providers') is null then
    create table ai.providers (
      id uuid primary key default gen_random_uuid(),
      key text not null unique,
      display_name text not null
    );
    alter table ai.providers enable row level security;
    perform pg_temp.close('ai.providers');
  end if;

  if to_regclass('ai.keys') is null then
    create table ai.keys (
      id uuid primary key default gen_random_uuid(),
      lenser_id uuid not null references lensers.profiles (id) on delete cascade,
      provider_id uuid not null references ai.providers (id),
      label text,
      key_suffix text not null, -- the last characters of the value, for people
      encrypted_key_id uuid,    -- in vault.decrypted_secrets
      is_active boolean not null default true,
      created_at timestamptz not null default now(),
      revoked_at timestamptz
    );
    create index on ai.keys (lenser_id);
    alter table ai.keys enable row level security;
    perform pg_temp.close('ai.keys');
  end if;
end
$tables$;

-- The caller's lenser: null where the JWT has none. A sub that is no UUID is nobody's, and no error.
do $caller$
begin
  if to_regprocedure('lensers.get_auth_lenser_id()') is null then
    create function lensers.get_auth_lenser_id() returns uuid
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
    begin atomic
      select id
        from lensers.profiles,
          (select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub' as sub) claim
        where user_id = case
          when sub ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then sub::uuid
        end;
    end;
    perform pg_temp.close('function lensers.get_auth_lenser_id()');
  end if;
end
$caller$;

-- The columns are those that LenserFight's clients read.
create or replace function public.fn_get_my_api_keys()
returns table (
  id uuid, lenser_id uuid, provider_id uuid, provider_key text, provider_name text, label text,
  key_suffix text, is_active boolean, created_at timestamptz, revoked_at timestamptz
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_lenser_id uuid := lensers.get_auth_lenser_id();
begin
  if v_lenser_id is null then
    raise exception 'Unauthenticated: no lenser profile found' using errcode = 'P0001';
  end if;
  return query
    select k.id, k.lenser_id, k.provider_id, p.key, p.display_name, k.label,
           k.key_suffix, k.is_active, k.created_at, k.revoked_at
    from ai.keys k join ai.providers p on p.id = k.provider_id
    where k.lenser_id = v_lenser_id and k.is_active and k.revoked_at is null
    order by k.created_at desc, k.id;
end
$function$;

-- Two guards come before the vault is looked into: the key is the caller's, and it is active. pg_temp is
-- last in the search path, because a temporary table of the caller's would come first otherwise.
create or replace function public.fn_get_my_key_secret(p_key_id uuid)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_lenser_id uuid := lensers.get_auth_lenser_id();
  v_secret_id uuid;
  v_value text;
begin
  if v_lenser_id is null then
    raise exception 'Unauthenticated: no lenser profile found' using errcode = 'P0001';
  end if;

  select k.encrypted_key_id into v_secret_id
    from ai.keys k
    where k.id = p_key_id and k.lenser_id = v_lenser_id and k.is_active and k.revoked_at is null;
  if not found then
    raise exception 'Key not found, revoked, or not owned by caller' using errcode = 'P0001';
  end if;

  begin
    select s.decrypted_secret into v_value from vault.decrypted_secrets s where s.id = v_secret_id;
  exception when others then
    v_value := null; -- what exactly does not open is nothing for a client
  end;
  if v_value is null then
    raise exception 'Failed to decrypt key from vault' using errcode = 'P0001';
  end if;
  return v_value;
end
$function$;

do $grants$
begin
  perform pg_temp.close('function public.fn_get_my_api_keys(), public.fn_get_my_key_secret(uuid)');
end
$grants$;
grant usage on schema public to authenticated;
grant execute on function public.fn_get_my_api_keys(), public.fn_get_my_key_secret(uuid) to authenticated;

-- PostgREST learns of new functions.
notify pgrst, 'reload schema';

commit;
