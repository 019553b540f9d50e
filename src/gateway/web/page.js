/** Before a person pairs, nothing is asked. Text stays text. */
import * as lf from '/client.js';

// Whoever served this page, and nobody else.
lf.at(location.origin);

const $ = (id) => document.getElementById(id);
const PAIR = 'lf gateway pair --web';
const ADD = 'lf keys add --provider openai';
const DOCTOR = 'lf keys doctor';
const SERVE = `lf gateway serve --keys-only${location.port === '38080' ? '' : ` --port ${location.port || 80}`}`;
/** By code: its field, what is wrong, a way out, a line for a terminal. */
const WORDS = Object.fromEntries(
  `invalid_token|token|That is not a pairing token.|It has 43 letters, digits, - and _. See step 1.
  unknown_token|token|The gateway does not know this token.|A newer one may have replaced it. See step 1.
  gateway_not_paired||This tab is no longer paired.|Its token was revoked or replaced, or has expired. See step 1.
  gateway_unreachable||The gateway does not answer.|Start it and leave it running:|${SERVE}
  gateway_slow||The gateway takes too long.|It may still do it: refresh before you ask again.
  gateway_garbage||What answers here is not the gateway.|Stop it, and start:|${SERVE}
  gateway_forbidden||The gateway refuses this page.|Open the address that it printed.
  gateway_rate_limited||Too much at once.|Wait a moment.
  not_permitted||This pairing may not do that.|Pair again with more rights:|${PAIR}
  passphrase_missing||There is no master passphrase yet.|Make one:|lf keys init
  keychain_unavailable||The keychain is locked, or does not answer.|Unlock it.
  decryption_failed||This key does not open.|See why:|${DOCTOR}
  key_not_found||This key is gone.|Refresh the list.
  invalid_provider|provider|That is not a provider’s name.|Use 2–32 of a–z, 0–9, - and _.
  invalid_label|label|That cannot be a label.|Use 1 to 64 characters, on one line.
  empty_key|value|There is no value yet.|Paste the provider’s key.
  body_too_large|value|This value is too large for a browser.|A terminal takes 64 KiB:|${ADD} < file
  NotAllowedError||The browser keeps this page from the clipboard.|Show the value, and copy it by hand.`
    .split('\n').map((line) => line.trim().split('|')).map(([code, ...words]) => [code, words]),
);
const WHY = { needs_cloud: 'Not available here.', no_keys: 'No keys yet', gateway_unreachable: 'No answer', gateway_not_paired: 'Not paired' };
/** Seconds that a value stays. */
const SHOWN = 30;
/** Keys that need a filter. */
const MANY = 10;
/** Milliseconds (14 days) before its end that a key is marked. */
const SOON = 1_209_600_000;
/** In seconds. */
const SPANS = [['year', 31_557_600], ['month', 2_629_800], ['day', 86_400], ['hour', 3600], ['minute', 60]];

let keys = [];
let rows = new Map();
let picked = null;
let opener;
let timer;

function make(tag, ...parts) {
  const element = document.createElement(tag);
  element.append(...parts);
  if (tag === 'button') element.type = 'button';
  return element;
}

const every = (selector) => document.querySelectorAll(selector);
const radio = (key) => rows.get(key?.id)?.querySelector('input');
/** Where the eye is. */
const seen = (zone) => [zone, $('actions'), $('bar'), $('pair')].find((it) => it.checkVisibility());

/** To the eye; and to the ear, where nothing is moved or hidden. */
function tell(zone, ...parts) {
  const told = zone.querySelector('.told');
  told.replaceChildren(...parts);
  if (!told.querySelector('[role]')) $('heard').textContent = told.textContent;
}

/** Does what was asked, and says so in its zone; meanwhile nothing else can be asked, typed or closed. */
async function attempt(zone, act) {
  if (document.body.ariaBusy === 'true') return;
  const before = document.activeElement;
  const controls = every('button, input, select, textarea, summary');
  const wait = (isBusy) => {
    document.body.ariaBusy = String(isBusy);
    for (const control of controls) control.inert = isBusy;
  };
  clear();
  tell(zone, 'Asking the gateway…');
  wait(true);
  const [said, failed] = await act().then((said = []) => [said], (error) => [[], error]);
  wait(false);
  tell(zone);
  drawSources(failed?.code !== 'gateway_unreachable');
  if (failed?.code === 'gateway_not_paired') zone = unpair();
  if (failed) explain(zone, failed, (failed.retryAfter || !zone.onsubmit) && lf.isPaired() && (() => (before.focus(), attempt(zone, act))));
  else tell(seen(zone), ...said);
  seen(zone).querySelector('.told').scrollIntoView({ block: 'nearest' });
  const now = document.activeElement; // Firefox blurs late
  if (now !== document.body && now.checkVisibility()) return;
  const focused = before.closest('dialog:not([open])') ? opener : before;
  [$('plain'), focused, $('token'), radio(picked), $('local-title')].find((it) => it?.checkVisibility())?.focus();
}

function clear() {
  for (const told of every('.told')) told.replaceChildren();
  for (const bad of every('.bad')) bad.remove();
  for (const field of every('[aria-invalid]')) field.ariaInvalid = null;
}

/** At the field that it is about, or else in the zone. */
function explain(zone, error, again) {
  const code = error instanceof lf.GatewayError ? error.code : error.name;
  const [about, what, way, line] = WORDS[code] ?? ['', `That failed: ${code}.`, 'See why:', DOCTOR];
  const field = about && zone.querySelector(`#${about}, #new-${about}`);
  const note = make('div', make('b', what), ` ${way} `, line ? command(line) : '');
  note.role = 'alert';
  if (again) note.append(' ', againButton(again, error.retryAfter ?? 0));
  if (!field) return tell(seen(zone), note);
  note.className = 'bad';
  note.id = `${field.id}-bad`;
  field.ariaInvalid = 'true';
  field.setAttribute('aria-describedby', note.id);
  (field.closest('.line') ?? field).after(note);
  field.focus();
}

function againButton(again, seconds) {
  const left = make('span');
  left.ariaHidden = 'true';
  const button = make('button', 'Try again', left);
  button.className = 'small';
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

function command(line) {
  const button = make('button', 'Copy command');
  button.className = 'small';
  button.title = line;
  copies(button, () => line);
  return make('span', make('code', line), ' ', button);
}

function copies(button, text) {
  const name = button.textContent;
  button.ariaLive = 'polite';
  button.onclick = async () => {
    button.textContent = await navigator.clipboard.writeText(text()).then(() => 'Copied', () => 'Not copied');
    setTimeout(() => (button.textContent = name), 2000);
  };
}

function drawSources(answers) {
  const gateway = answers ? { isPaired: lf.isPaired(), keys: keys.length } : null;
  for (const { id, why } of lf.fundingSources({ cloud: false, balance: null, cloudKeys: 0, gateway }).sources) {
    $(`why-${id}`).textContent = why ? WHY[why] : `Keys: ${keys.length}`;
  }
}

/** The list, or the field for a token. */
function turn(isPaired) {
  $('pair').hidden = isPaired;
  $('picker').hidden = !isPaired;
  drawSources(true);
}

function unpair() {
  for (const dialog of every('dialog[open]')) dialog.close();
  show([]);
  turn(false);
  $('token').focus();
  return $('pair');
}

onSubmit($('pair'), async () => {
  await lf.pair($('token').value).catch((error) => {
    if (error.code === 'gateway_not_paired') error.code = 'unknown_token';
    throw error;
  });
  $('pair').reset();
  await refresh();
  return ['Paired.'];
});

$('forget').onclick = () => {
  lf.forget();
  // A name that any shell takes.
  tell(unpair(), 'Forgotten. To revoke it: ', command(`lf gateway unpair ${/^\w[\w-]*$/.exec(every('#who b')[0]?.textContent ?? '') ?? 'NAME'}`));
};

async function refresh() {
  turn(true);
  const me = await lf.whoami();
  for (const button of every('[data-act]')) button.disabled = !me.allow.includes(button.dataset.right ?? button.dataset.act);
  const end = make('time');
  since(end, me.expiresAt ? 'Expires' : 'Does not expire', me.expiresAt);
  $('who').replaceChildren('Paired as ', make('b', me.name), `. Rights: ${me.allow.join(', ')}. Keys: ${me.keys?.length ?? 'all'}. `, end, '.');
  show(me.allow.includes('list') ? await lf.list() : []);
}
$('refresh').onclick = () => attempt($('bar'), async () => (await refresh(), ['Up to date.']));

function show(list) {
  keys = list;
  document.body.append($('actions'));
  rows = new Map(keys.map((key) => [key.id, row(key)]));
  pick(keys.find((key) => key.id === picked?.id) ?? null);
  arrange();
}

function arrange() {
  const words = $('filter').value.trim().toLowerCase();
  $('filter').hidden = !words && keys.length < MANY;
  $('sort').hidden = keys.length < 2;
  const byLabel = (a, b) => a.label.localeCompare(b.label, 'en', { numeric: true });
  const found = ($('sort').value ? keys.toSorted(byLabel) : keys.toReversed()).filter((key) => `${key.label}\n${key.provider}\n${key.id}`.toLowerCase().includes(words));
  if (picked && !found.includes(picked)) pick(null);
  $('heard').textContent = `Keys: ${found.length}`;
  $('keys').replaceChildren(...found.map(({ id }) => rows.get(id)));
  $('empty').replaceChildren(...(found.length ? [] : words ? ['No key matches.'] : ['There are no keys yet. Add one here, or in a terminal: ', command(ADD)]));
}
$('filter').oninput = $('sort').onchange = arrange;

function row(key) {
  const item = $('row').content.firstElementChild.cloneNode(true);
  const [added, used, tag] = item.querySelectorAll('time');
  item.querySelector('bdi').textContent = key.label;
  const what = item.querySelector('.quiet');
  what.textContent = `${key.provider} · ${key.id.slice(0, 8)}…`;
  what.title = key.id;
  since(added, key.rotatedAt ? 'Replaced' : 'Added', key.rotatedAt ?? key.createdAt);
  since(used, key.lastUsedAt ? 'Used' : 'Never used', key.lastUsedAt);
  tag.hidden = !key.expiresAt;
  const left = new Date(key.expiresAt) - Date.now();
  since(tag, left < 0 ? 'Expired' : 'Expires', key.expiresAt);
  tag.classList.toggle('soon', left < SOON);
  item.querySelector('input').onchange = () => pick(key);
  return item;
}

/** How long it is from now; and exactly when, on hover. */
function since(time, word, at) {
  const date = new Date(at ?? NaN);
  time.textContent = word;
  if (isNaN(date)) return;
  const seconds = (date - Date.now()) / 1000;
  const [unit, size] = SPANS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  time.append(' ', unit ? new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(Math.round(seconds / size), unit) : 'just now');
  time.title = date.toLocaleString();
  time.dateTime = date.toISOString();
}

function pick(key) {
  drop();
  tell($('actions'));
  if (picked && picked.id !== key?.id) $('more').open = false;
  if (!key && radio(picked)) radio(picked).checked = false;
  picked = key;
  $('actions').hidden = !key;
  if (!key) return document.body.append($('actions'));
  radio(key).checked = true;
  $('id').textContent = key.id;
  $('actions').ariaLabel = key.label;
  rows.get(key.id).append($('actions'));
}

async function value() {
  const key = picked;
  const got = await lf.resolve(key.id);
  key.lastUsedAt = new Date().toISOString();
  since(rows.get(key.id).querySelectorAll('time')[1], 'Used', key.lastUsedAt);
  return got;
}

const ACTS = {
  async copy() {
    // The browser is asked now, while it knows of the click.
    const got = value();
    await Promise.all([got, navigator.clipboard.write([new ClipboardItem({ 'text/plain': got })])]);
    return ['Copied, not shown. It stays in the clipboard until you copy something else.'];
  },
  async resolve() {
    const got = await value();
    if (document.hidden) return ['This tab was hidden: its value was dropped.'];
    reveal(got);
  },
  rotate: async () => (await lf.rotate(picked.id), ['Encrypted again. Its value stays.']),
};

for (const button of every('[data-act]')) {
  const act = ACTS[button.dataset.act];
  button.onclick = () => (act ? attempt($('actions'), act) : ask($(button.dataset.act)));
}
copies($('copy-id'), () => picked.id);

function ask(dialog) {
  drop();
  clear();
  opener = document.activeElement;
  const label = dialog.querySelector('bdi');
  if (label) label.textContent = $('new-label').value = picked.label;
  dialog.ariaLabel = dialog.querySelector('h2').textContent;
  dialog.showModal();
}

/** The one place that has a value, for a while. */
function reveal(value) {
  drop();
  $('plain').textContent = value;
  $('shown').hidden = false;
  timer = countDown(SHOWN, (left) => {
    $('left').textContent = left;
    if (!left) hide();
  });
}

function drop() {
  clearInterval(timer);
  const hadFocus = $('shown').contains(document.activeElement);
  $('plain').textContent = '';
  $('shown').hidden = true;
  if (hadFocus) $('actions').querySelector('[data-act=resolve]').focus();
}

const hide = ($('hide').onclick = () => (drop(), tell($('actions'), 'The value has left this page.')));
document.onvisibilitychange = () => document.hidden && drop();
addEventListener('pagehide', () => {
  drop();
  for (const form of document.forms) form.reset();
});

function onSubmit(form, act) {
  form.onsubmit = (event) => {
    event.preventDefault();
    attempt(form, act);
  };
}

/** A last newline is the paste's. */
const valueIn = (id) => $(id).value.replace(/\n$/, '');

function onAgree(dialog, act) {
  const form = dialog.firstElementChild;
  // A close event is late.
  dialog.querySelector('.cancel').onclick = () => (form.reset(), dialog.close());
  dialog.onclose = () => form.reset();
  form.onreset = () => ($('hint').textContent = '');
  onSubmit(form, async () => {
    const said = await act(picked);
    dialog.close();
    return said;
  });
  dialog.oncancel = (event) => void (document.body.ariaBusy === 'true' && event.preventDefault());
}

onAgree($('add'), async () => {
  const provider = $('provider').value.trim().toLowerCase();
  const key = await lf.add({ provider, label: $('label').value.trim() || provider, rawKey: valueIn('value') });
  $('filter').value = '';
  show([...keys, key]);
  pick(key);
  opener = radio(key);
  rows.get(key.id).scrollIntoView({ block: 'center' });
  return ['Added.'];
});
$('provider').oninput = () => ($('hint').textContent = /^\s*ollama/i.test($('provider').value) ? 'Only cloud models need a key.' : '');

onAgree($('edit'), async ({ id, label, lastUsedAt }) => {
  const [typed, rawKey] = [$('new-label').value.trim(), valueIn('new-value')];
  if (typed === label && !rawKey) return ['Nothing was changed.'];
  const key = { ...(await lf.update(id, { label: typed, ...(rawKey && { rawKey }) })), lastUsedAt };
  show(keys.map((it) => (it.id === id ? key : it)));
  return [rawKey ? 'Saved, with its new value.' : 'Saved.'];
});

onAgree($('remove'), async (key) => {
  await lf.remove(key.id);
  opener = $('refresh');
  show(keys.filter(({ id }) => id !== key.id));
  return ['Removed ', make('bdi', key.label), '.'];
});

$('ask-ollama').onclick = async () => {
  tell($('ollama'), 'Asking localhost:11434…');
  try {
    const signal = AbortSignal.timeout(5000);
    const response = await fetch('http://localhost:11434/api/tags', { credentials: 'omit', cache: 'no-store', redirect: 'error', signal });
    const names = (await response.json()).models.map(({ name }) => name);
    tell($('ollama'), `Its models: ${names.join(', ') || 'none yet'}`);
  } catch {
    tell($('ollama'), 'No Ollama answers there. Start it: ', command('ollama serve'));
  }
};

lf.forgetLegacyStore().then((isDue) => {
  if (isDue) $('legacy').append(make('b', 'The key store of an older version was deleted here.'), ' First add your keys again: ', command(ADD));
});

$('command').append(command(PAIR));
turn(lf.isPaired());
if (lf.isPaired()) attempt($('bar'), refresh);
else $('token').focus();
$('where').textContent = location.host;
