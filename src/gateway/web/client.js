/**
 * A client of the lf gateway, for any page whose origin the gateway allows.
 * Nothing is sent before a function is called: it may make the browser ask its user.
 * The token is in sessionStorage only, a value in nothing but the answer of resolve().
 */

/**
 * @typedef {{id: string, provider: string, label: string, createdAt: string, rotatedAt?: ?string,
 *   expiresAt?: ?string, lastUsedAt?: ?string}} Key times are ISO 8601
 * @typedef {{name: string, keys: ?string[], allow: string[], expiresAt: ?string}} Pairing `keys`: null is all
 * @typedef {'chainabit' | 'cloud' | 'local'} SourceId
 * @typedef {{id: SourceId, why: ?string}} Source `why` it cannot pay: needs_cloud, not_connected, no_credits,
 *   no_keys, gateway_unreachable, gateway_not_paired
 */

/**
 * What every function rejects with. `code` is the gateway's own (`key_not_found`, …) or
 * - `invalid_token`: no pairing token; nothing was sent
 * - `gateway_not_paired`: no token, or none that is known
 * - `gateway_rate_limited`: wait `retryAfter` seconds
 * - `gateway_forbidden`: it refuses this page, as far as a browser tells
 * - `gateway_unreachable`: nothing answers
 * - `permission_denied`: the browser forbids it
 * - `gateway_slow`: no answer in time; it may still happen
 * - `gateway_garbage`: what answers is no gateway
 */
export class GatewayError extends Error {
  /** @param {string} code @param {number} [retryAfter] */
  constructor(code, retryAfter) {
    super(code);
    this.name = 'GatewayError';
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Names the gateway, for its own page. @param {string} url */
export const at = (url) => void (own = url);

/** Is there a token? It may be revoked by now. */
export const isPaired = () => token() !== null;

/** Is the gateway there? Needs no token. */
export const health = async () => expect(await ask('GET', '/healthz'), (it) => it?.status === 'ok');

/** Whose token it is, and what it may do. @returns {Promise<Pairing>} */
export const whoami = async () => expect(await act('GET', '/pairing'), (it) => isText(it?.name) && Array.isArray(it.allow));

/** Proves a token, and keeps it for this tab. @param {string} text @returns {Promise<Key[]>} */
export async function pair(text) {
  const given = text.trim();
  if (!FORM.test(given)) throw new GatewayError('invalid_token');
  const before = forgotten;
  const keys = await listWith(given);
  if (before === forgotten) sessionStorage.setItem(TOKEN, given);
  return keys;
}

/** The gateway knows the token until `lf gateway unpair`. */
export function forget() {
  forgotten++;
  sessionStorage.removeItem(TOKEN);
}

/** Every key's metadata, oldest first. @returns {Promise<Key[]>} */
export const list = async () => listWith(token());

/** @param {{provider: string, label: string, rawKey: string}} key */
export const add = async (key) => meta(await act('POST', '/keys', key));

/** @param {string} id @param {{label?: string, rawKey?: string}} change */
export const update = async (id, change) => meta(await act('PUT', of(id), change));

/** Re-encrypts a key; its value stays. @param {string} id */
export const rotate = async (id) => meta(await act('POST', of(id, '/rotate')));

/** @param {string} id */
export const remove = async (id) => void expect(await act('DELETE', of(id)), (it) => it === null);

/** A key's value, to use and drop. @param {string} id @returns {Promise<string>} */
export const resolve = async (id) =>
  expect(await act('POST', of(id, '/resolve')), (it) => isText(it?.key)).key;

/**
 * Which sources can pay for a run, and which one does: the chosen one if it can, or else the first that can.
 * So with no balance left it is the cloud keys, then the local keys, then none.
 * @param {{cloud: boolean, balance: ?number, cloudKeys: number, gateway: ?{isPaired: boolean, keys: number}}} state
 *   `balance`: null if Chainabit is not connected; `gateway`: null if none answers
 * @param {?SourceId} [chosen]
 * @returns {{sources: Source[], selected: ?SourceId}}
 */
export function fundingSources({ cloud, balance, cloudKeys, gateway }, chosen) {
  const away = cloud ? null : 'needs_cloud';
  const credits = balance === null ? 'not_connected' : balance > 0 ? null : 'no_credits';
  const unpaired = gateway ? (gateway.isPaired ? null : 'gateway_not_paired') : 'gateway_unreachable';
  /** @type {Source[]} */
  const sources = [
    { id: 'chainabit', why: away ?? credits },
    { id: 'cloud', why: away ?? (cloudKeys > 0 ? null : 'no_keys') },
    { id: 'local', why: unpaired ?? (gateway?.keys ? null : 'no_keys') },
  ];
  const able = sources.filter(({ why }) => !why).map(({ id }) => id);
  return { sources, selected: able.find((id) => id === chosen) ?? able[0] ?? null };
}

/**
 * Deletes the key store of former versions. True once, for the call that did: say now how to pair.
 * @returns {Promise<boolean>}
 */
export const forgetLegacyStore = () =>
  new Promise((done) => {
    try {
      const request = indexedDB.deleteDatabase('lenserfight-local-keys');
      request.onsuccess = (event) => done(/** @type {IDBVersionChangeEvent} */ (event).oldVersion > 0);
      request.onerror = () => done(false);
    } catch {
      done(false); // no IndexedDB, no such store
    }
  });

const TOKEN = 'lf-gateway-bearer';
/** 32 bytes in base64url. */
const FORM = /^[\w-]{43}$/;
/** Milliseconds; a keychain may be slow. */
const PATIENCE = 15_000;
/** Bytes. */
const MAX_BODY = 65_536;
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** The gateway that at() named. @type {?string} */
let own = null;
/** How often: a token that is proven only afterwards is not kept. */
let forgotten = 0;

async function listWith(token) {
  const answer = await ask('GET', '/keys?include=last_used', token);
  return expect(answer, (it) => Array.isArray(it?.keys) && it.keys.every(isKey)).keys;
}

function token() {
  const kept = sessionStorage.getItem(TOKEN);
  return kept && FORM.test(kept) ? kept : null;
}

const act = (method, path, body) => ask(method, path, token(), body);
const of = (id, act = '') => `/keys/${encodeURIComponent(id)}${act}`;
const isText = (it) => typeof it === 'string';
const isKey = (it) => [it?.id, it?.provider, it?.label, it?.createdAt].every(isText);
/** @returns {Key} */
const meta = (answer) => expect(answer, (it) => isKey(it?.key)).key;
const isLoopback = (url) => LOOPBACK.includes(url.hostname);

/** Where the gateway is. No link has a say, or it could have tokens sent elsewhere. */
function base() {
  if (own) return new URL(own);
  // From an https page plain HTTP goes to loopback only.
  let url = new URL(`http://${location.protocol === 'http:' ? location.hostname : '127.0.0.1'}:38080`);
  try {
    const kept = new URL(sessionStorage.getItem('lf-gateway-url') ?? '');
    if (kept.protocol === 'https:' || (kept.protocol === 'http:' && isLoopback(kept))) url = kept;
  } catch {}
  // Another user could listen on ::1.
  if (url.protocol === 'http:' && url.hostname === 'localhost') url.hostname = '127.0.0.1';
  return url;
}

/** One request; answers parsed JSON, or null for no content. @param {?string} [token] @param {object} [body] */
async function ask(method, path, token, body) {
  if (token === null) throw new GatewayError('gateway_not_paired');
  const text = body && JSON.stringify(body);
  if (text && new Blob([text]).size > MAX_BODY) throw new GatewayError('body_too_large');
  const url = base();
  await permission(url);
  const headers = { ...(token && { authorization: `Bearer ${token}` }) };
  if (text) headers['content-type'] = 'application/json';
  let response, answer;
  try {
    response = await send(new URL(path, url), { method, headers, body: text }, AbortSignal.timeout(PATIENCE));
    answer = await response.text();
  } catch (error) {
    if (error.name === 'TimeoutError') throw new GatewayError('gateway_slow');
    throw new GatewayError(isListed(url) ? 'gateway_unreachable' : 'gateway_forbidden');
  }
  return read(response, answer, token);
}

const send = (url, request, signal) =>
  fetch(url, {
    ...request,
    credentials: 'omit',
    cache: 'no-store',
    redirect: 'error',
    referrerPolicy: 'no-referrer',
    signal,
  });

/** Makes an answer or an error of what came. */
function read(response, text, used) {
  if (response.status === 204) return null;
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new GatewayError('gateway_garbage');
  }
  if (response.ok) return answer;
  if (!isText(answer?.error) || !/^[a-z_]{1,40}$/.test(answer.error)) throw new GatewayError('gateway_garbage');
  switch (response.status) {
    case 401:
      if (!/^(bad|missing)_token$/.test(answer.error)) throw new GatewayError('gateway_garbage');
      // Another one may have taken its place while we waited.
      if (used === token()) forget();
      throw new GatewayError('gateway_not_paired');
    case 403:
    case 421:
      if (answer.error === 'not_permitted') throw new GatewayError(answer.error);
      throw new GatewayError('gateway_forbidden');
    case 429:
      throw new GatewayError('gateway_rate_limited', Number(response.headers.get('retry-after')) || 1);
    default:
      throw new GatewayError(answer.error);
  }
}

function expect(answer, isRight) {
  if (isRight(answer)) return answer;
  throw new GatewayError('gateway_garbage');
}

/**
 * Lets the browser ask its user, which may take minutes. The request that asked may fail all the same: so
 * a harmless one goes first.
 */
async function permission(url) {
  if (!isLoopback(url) || isLoopback(location) || !isSecureContext) return;
  let status;
  try {
    status = await navigator.permissions.query({ name: /** @type {any} */ ('loopback-network') });
  } catch {
    return; // It has no such permission.
  }
  if (status.state === 'granted') return;
  const stop = new AbortController();
  const granted = new Promise((/** @type {(_?: any) => void} */ done) => {
    status.onchange = () => status.state === 'granted' && done();
  });
  const denied = () => Promise.reject(new GatewayError('permission_denied'));
  const late = () => Promise.race([granted, new Promise((_, no) => setTimeout(no, 200))]).catch(denied);
  await Promise.race([send(new URL('/healthz', url), {}, stop.signal).catch(late), granted]);
  stop.abort();
}

/** Is this page's origin on every gateway's list? Then a failure is no refusal. */
function isListed(url) {
  const { host, hostname, origin, protocol } = location;
  if (origin === url.origin || isLoopback(location)) return true;
  if (protocol === 'https:' && /^([a-z\d-]+\.)?lenserfight\.com$/.test(host)) return true;
  return /^([a-z\d-]+\.local|(10|172\.(1[6-9]|2\d|3[01])|192\.168|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\.[\d.]+)$/.test(hostname);
}
