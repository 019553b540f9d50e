/** Nothing is asked before a person acts. Text stays text. */
import * as lf from '/client.js';

// Whoever served this page, and nobody else.
lf.at(location.origin);

const $ = (id) => document.getElementById(id);
const PAIR = 'lf gateway pair --web';
const DOCTOR = 'lf keys doctor';
const SERVE = `lf gateway serve --keys-only${location.port === '38080' ? '' : ` --port ${location.port || 80}`}`;
const WORDS = {
  invalid_token: ['That is not a pairing token.', 'Nothing was sent. It has 43 letters, digits, - and _:', PAIR],
  unknown_token: ['The gateway does not know this token.', 'A newer one may have replaced it. Print a new one:', PAIR],
  gateway_not_paired: ['This tab is no longer paired.', 'Its token was revoked, replaced or has expired. Print a new one:', PAIR],
  gateway_unreachable: ['The gateway does not answer.', 'Start it in a terminal and leave it running:', SERVE],
  gateway_slow: ['The gateway takes too long.', 'It may still do it: refresh the list before you ask again.'],
  gateway_garbage: ['What answers here is not the gateway.', 'Stop what has taken its port, and start:', SERVE],
  gateway_forbidden: ['The gateway refuses this page.', 'Open the address that it printed when it started.'],
  gateway_rate_limited: ['Too many values at once.', 'It gives out five, then one a second.'],
  passphrase_missing: ['There is no master passphrase yet.', 'Make one in a terminal:', 'lf keys init'],
  keychain_unavailable: ['The keychain is locked, or does not answer.', 'Unlock it, and try again.'],
  decryption_failed: ['This key does not open.', 'See why:', DOCTOR],
  key_not_found: ['This key is gone.', 'Refresh the list.'],
  invalid_provider: ['That is not a provider’s name.', 'It has 2 to 32 of a–z, 0–9, - and _.'],
  invalid_label: ['That cannot be a label.', 'It has up to 64 characters, on one line.'],
  empty_key: ['There is no value yet.', 'Paste the provider’s key.'],
  body_too_large: ['This value is too large for a browser.', 'Nothing was sent. A terminal takes 64 KiB:', 'lf keys add --provider openai < file'],
};
/** Seconds that a value stays. */
const SHOWN = 30;

let picked = null;
let opener;
let rows = new Map();
let timer;

function make(tag, ...parts) {
  const element = document.createElement(tag);
  element.append(...parts);
  return element;
}

const say = (...parts) => $('status').replaceChildren(...parts);
/** It may be written from right to left. */
const named = (key) => make('bdi', key.label);
const noticeOf = (element) => element.querySelector('[role=alert]');

/** Does what was asked; until it is done nothing else can be asked, typed or closed. */
async function attempt(place, act, isRepeatable) {
  if (document.body.ariaBusy === 'true') return;
  const focused = document.activeElement.closest('dialog') ? opener : document.activeElement;
  const still = document.querySelectorAll('.tiles, #local, dialog[open] form');
  const wait = (isBusy) => {
    document.body.ariaBusy = String(isBusy);
    for (const part of still) part.inert = isBusy;
  };
  document.querySelectorAll('[role=alert]').forEach((it) => (it.hidden = true));
  wait(true);
  say('Asking the gateway…');
  try {
    say(...((await act()) ?? []));
  } catch (error) {
    say(...(error.done ?? []));
    if (error.done) [place, act, isRepeatable] = [$('notice'), refresh, true];
    if (error.code === 'gateway_not_paired') place = unpair();
    explain(place, error, isRepeatable && lf.isPaired() && (() => attempt(place, act, true)));
  } finally {
    wait(false);
  }
  if (document.activeElement !== document.body) return;
  const row = rows.get(picked?.id)?.querySelector('input');
  [$('plain'), focused, $('token'), row, $('local-title')].find((it) => it?.checkVisibility())?.focus();
}

/** The list, behind something that is done anyway. */
async function refreshAfter(...words) {
  try {
    await refresh();
  } catch (error) {
    error.done = words;
    throw error;
  }
  return words;
}

function explain(place, error, again) {
  const code = error instanceof lf.GatewayError ? error.code : error.name;
  const [what, way, command] = WORDS[code] ?? [`That failed: ${code}.`, 'See why:', DOCTOR];
  if (!place.parentElement.checkVisibility()) place = $('notice');
  place.replaceChildren(make('p', make('b', what), ` ${way} `, ...(command ? [make('code', command)] : [])));
  if (again) place.append(againButton(again, error.retryAfter ?? 0));
  place.hidden = false;
}

function againButton(again, seconds) {
  const left = make('span');
  left.ariaHidden = 'true'; // or every second would be read out
  const button = make('button', 'Try again', left);
  button.type = 'button';
  button.onclick = again;
  countDown(seconds, (wait) => {
    left.textContent = wait ? ` in ${wait} s` : '';
    button.disabled = wait > 0;
  });
  return button;
}

function countDown(seconds, tell) {
  const end = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    if (!left) clearInterval(ticking);
    tell(left);
  };
  const ticking = setInterval(tick, 200);
  tick();
  return ticking;
}

function enter() {
  if (!lf.isPaired()) return $('token').focus();
  $('pair').hidden = true;
  $('foot').hidden = false;
  attempt($('notice'), refresh, true);
}

/** Back to the token. */
function unpair() {
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  show([]);
  $('picker').hidden = $('foot').hidden = true;
  $('pair').hidden = false;
  $('token').focus();
  return $('notice');
}

onSubmit($('pair'), $('notice'), async () => {
  const keys = await lf.pair($('token').value).catch((error) => {
    if (error.code === 'gateway_not_paired') error.code = 'unknown_token';
    throw error;
  });
  $('pair').reset();
  show(keys);
  return ['Paired.'];
});

$('forget').onclick = () => {
  lf.forget();
  $('add').reset();
  unpair().hidden = true;
  say('Token forgotten. To revoke it: ', make('code', 'lf gateway unpair NAME'));
};

const refresh = async () => show(await lf.list());
$('refresh').onclick = () => attempt($('notice'), refresh, true);

function show(keys) {
  document.body.append($('actions'));
  rows = new Map(keys.map((key) => [key.id, row(key)]));
  $('keys').replaceChildren(...rows.values());
  $('empty').hidden = keys.length > 0;
  if (!keys.length) $('adding').open = true;
  $('pair').hidden = true;
  $('picker').hidden = $('foot').hidden = false;
  pick(keys.find((key) => key.id === picked?.id) ?? null);
}

function row(key) {
  const item = $('row').content.firstElementChild.cloneNode(true);
  const [created, used] = item.querySelectorAll('time');
  item.querySelector('bdi').textContent = key.label;
  item.querySelector('.provider').textContent = key.provider;
  tell(created, key.createdAt);
  tell(used, key.lastUsedAt);
  item.querySelector('input').onchange = () => pick(key);
  return item;
}

function tell(time, at) {
  const date = new Date(at ?? NaN);
  time.textContent = isNaN(date) ? 'never' : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

function pick(key) {
  drop();
  picked = key;
  $('actions').hidden = !key;
  noticeOf($('actions')).hidden = true;
  if (!key) return;
  rows.get(key.id).querySelector('input').checked = true;
  rows.get(key.id).append($('actions'));
}

const ACTS = {
  async resolve() {
    const key = picked;
    const value = await lf.resolve(key.id);
    tell(rows.get(key.id).querySelectorAll('time')[1], new Date());
    if (document.hidden) return ['Its value came while this tab was hidden, and was dropped.'];
    reveal(value);
    return [`Its value is shown for ${SHOWN} s.`];
  },
  async rotate() {
    const key = await lf.rotate(picked.id);
    return refreshAfter(named(key), ' is re-encrypted under a fresh salt and IV. Its value stays.');
  },
};

for (const button of document.querySelectorAll('[data-act]')) {
  const act = ACTS[button.dataset.act];
  button.onclick = () => (act ? attempt(noticeOf($('actions')), act, true) : ask($(button.dataset.act)));
}

function ask(dialog) {
  opener = document.activeElement;
  dialog.querySelector('bdi').textContent = $('new-label').value = picked.label;
  dialog.showModal();
}

/** The one place that has a value, for a while. */
function reveal(value) {
  drop();
  $('plain').textContent = value;
  $('shown').hidden = false;
  timer = countDown(SHOWN, (left) => {
    $('left').textContent = left;
    if (!left) drop('The value has left this page.');
  });
}

function drop(...words) {
  clearInterval(timer);
  const hadFocus = $('shown').contains(document.activeElement);
  $('plain').textContent = '';
  $('shown').hidden = true;
  if (hadFocus) $('actions').querySelector('[data-act]').focus();
  if (words.length) say(...words);
}

$('hide').onclick = () => drop('The value has left this page.');
$('copy').onclick = async () => {
  try {
    await navigator.clipboard.writeText($('plain').textContent);
    drop('Copied, and gone from this page. Your clipboard still has it.');
  } catch {
    say('The browser refuses. Copy it by hand.');
  }
};
document.onvisibilitychange = () => document.hidden && drop();
addEventListener('pagehide', () => {
  drop();
  for (const form of document.forms) form.reset();
});

function onSubmit(form, place, act) {
  form.onsubmit = (event) => {
    event.preventDefault();
    attempt(place, act);
  };
}

/** A last newline is the paste's. */
const valueIn = (id) => $(id).value.replace(/\n$/, '');

onSubmit($('add'), noticeOf($('add')), async () => {
  const provider = $('provider').value.trim();
  const label = $('label').value.trim() || provider;
  const key = await lf.add({ provider, label, rawKey: valueIn('value') });
  picked = key;
  $('add').reset();
  $('adding').open = false;
  return refreshAfter('Added ', named(key), '.');
});

function onAgree(dialog, act) {
  const form = dialog.firstElementChild;
  // A close event is late.
  dialog.querySelector('.cancel').onclick = () => (form.reset(), dialog.close());
  dialog.onclose = () => {
    form.reset();
    noticeOf(form).hidden = true;
  };
  onSubmit(form, noticeOf(form), async () => {
    const said = await act(picked);
    dialog.close();
    return refreshAfter(...said);
  });
  dialog.oncancel = (event) => void (form.inert && event.preventDefault());
}

onAgree($('rename'), async ({ id }) => ['Renamed to ', named(await lf.update(id, { label: $('new-label').value.trim() })), '.']);
onAgree($('replace'), async ({ id }) => ['Replaced the value of ', named(await lf.update(id, { rawKey: valueIn('new-value') })), '.']);
onAgree($('remove'), async (key) => (await lf.remove(key.id), ['Removed ', named(key), '.']));

const tiles = document.querySelectorAll('.tiles button');
for (const tile of tiles) {
  tile.onclick = () => {
    const isOpen = tile.ariaExpanded !== 'true';
    drop();
    say();
    for (const other of tiles) {
      other.ariaExpanded = String(isOpen && other === tile);
      $(other.getAttribute('aria-controls')).hidden = other.ariaExpanded !== 'true';
    }
    if (isOpen) ({ local: enter, ollama: askOllama })[tile.getAttribute('aria-controls')]?.();
  };
}

async function askOllama() {
  const told = $('models');
  told.textContent = 'Asking localhost:11434…';
  try {
    const signal = AbortSignal.timeout(5000);
    const response = await fetch('http://localhost:11434/api/tags', { credentials: 'omit', cache: 'no-store', redirect: 'error', signal });
    const names = (await response.json()).models.map(({ name }) => name);
    told.textContent = `Ollama answers. Its models: ${names.join(', ') || 'none yet'}`;
  } catch {
    told.replaceChildren('No Ollama answers on localhost:11434. Start it: ', make('code', 'ollama serve'));
  }
}
$('ask-ollama').onclick = askOllama;

$('where').textContent = location.host;

/** The load that finds it says so. */
async function dropLegacy() {
  const legacy = 'lenserfight-local-keys';
  const there = await indexedDB.databases?.();
  if (there && !there.some(({ name }) => name === legacy)) return;
  indexedDB.deleteDatabase(legacy).onsuccess = (event) => ($('legacy').hidden = !event.oldVersion);
}
dropLegacy().catch(() => {}); // no IndexedDB, no legacy
