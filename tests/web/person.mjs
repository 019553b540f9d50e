// A person with the binary and a browser: pairs, and manages keys on the gateway's own page.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { VALUE, all, browser, freePort, gateway, holds, home, leaves_nothing, lf, pair, says, serve, visit } from './stage.mjs';

const ollama = await freePort();
const chromium = await browser([`--host-resolver-rules=MAP localhost:11434 127.0.0.1:${ollama}`]);
const act = (page, name) => page.locator('#actions').getByRole('button', { name, exact: true }).click();
const dialog = (page) => page.locator('dialog[open]');
const row = (page, label) => page.locator('#keys li', { hasText: label });
const labels = (page) => page.locator('#keys bdi').allTextContents();

async function paired(name, keys = {}, options = {}) {
  const own = home(name);
  for (const [label, value] of Object.entries(keys)) await lf(own, `keys add --provider openai --label ${label}`, value);
  const token = await pair(own);
  const there = await gateway(own, await freePort());
  const context = await chromium.newContext(options);
  const page = await visit(context, there.url);
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await says(page, '#bar', 'Paired.');
  return { own, there, context, page, token };
}

async function add(page, provider, label, value) {
  if (!(await page.locator('#add').isVisible())) await page.click('#bar [data-act=add]');
  await page.fill('#provider', provider);
  await page.fill('#label', label);
  await page.fill('#value', value);
  await page.click('#add .main');
}

async function more(page, name) {
  if (!(await page.evaluate(() => document.getElementById('more').open))) await page.click('summary');
  await act(page, name);
}

const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);

await all({
  async 'the first visit asks for the page alone, and drops the legacy database'() {
    const own = home('first');
    const there = await gateway(own);
    const context = await chromium.newContext();
    const before = await visit(context, `${there.url}/client.js`);
    await before.evaluate(
      () => new Promise((done) => {
        const request = indexedDB.open('lenserfight-local-keys', 3);
        request.onupgradeneeded = () => request.result.createObjectStore('keys').put('old', 'key');
        request.onsuccess = () => done(request.result.close());
      }),
    );
    await before.close();
    const page = await visit(context, there.url);
    await says(page, '#legacy', 'lf keys add');
    assert.deepEqual(
      page.asked.sort(),
      ['/', '/client.js', '/page.js', '/style.css'].map((path) => `GET ${there.url}${path}`),
    );
    assert.deepEqual(await page.evaluate(() => indexedDB.databases()), []);
    await page.reload();
    await page.waitForFunction(() => document.getElementById('where').textContent);
    assert.equal(await page.evaluate(async () => (await import('/client.js')).forgetLegacyStore()), false);
    assert.equal(await page.locator('#legacy').isVisible(), false, 'once');
    page.asked.length = 0;
    // What to do stands there at once, and costs no click and no request.
    assert.equal(await focused(page), 'token');
    await says(page, '#pair', 'Paste your pairing token below ↓');
    await says(page, '#command code', 'lf gateway pair --web');
    await says(page, '#why-local', 'Not paired');
    for (const source of ['chainabit', 'cloud']) await says(page, `#why-${source}`, 'Not available here');
    await says(page, 'footer', (await lf(own, '--version')).split(' ')[1]);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.click('#command button');
    await says(page, '#command button', 'Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'lf gateway pair --web');
    await leaves_nothing(page);
  },

  async 'a token is checked, proved and trimmed'() {
    const own = home('token');
    const [there, token] = [await gateway(own), await pair(own)];
    const page = await visit(await chromium.newContext(), there.url);
    page.asked.length = 0;
    for (const wrong of ['', token.slice(1), `${token}x`, `${token.slice(0, 42)}+`, `${token.slice(0, 20)} ${token.slice(21)}`]) {
      await page.fill('#token', wrong);
      await page.getByRole('button', { name: 'Pair gateway' }).click();
      await says(page, '#token-bad', 'not a pairing token');
      assert.deepEqual([await focused(page), await page.getAttribute('#token', 'aria-invalid')], ['token', 'true']);
      assert.equal(await page.inputValue('#token'), wrong, 'nothing is lost');
    }
    assert.deepEqual(page.asked, [], 'nothing was sent');
    await page.fill('#token', 'A'.repeat(43));
    await page.getByRole('button', { name: 'Pair gateway' }).click();
    await says(page, '#token-bad', 'does not know this token');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'kept only when proved');
    await page.fill('#token', `  ${token}\t `);
    await page.getByRole('button', { name: 'Pair gateway' }).click();
    await says(page, '#empty', 'lf keys add');
    assert.equal(await page.locator('.bad, [aria-invalid]').count(), 0);
    assert.deepEqual(await page.evaluate(() => Object.entries(sessionStorage)), [['lf-gateway-bearer', token]]);
    assert.equal(await page.inputValue('#token'), '');
    assert.ok(page.asked.every((asked) => !asked.includes(token)), 'never in a URL');
    // A line end cannot be typed into the field; the client takes it all the same.
    const count = await page.evaluate(async (text) => (await (await import('/client.js')).pair(text)).length, `\r\n ${token} \n`);
    assert.equal(count, 0);
    // A reload stays paired; forgetting asks nobody and keeps nothing.
    await page.reload();
    await says(page, '#who', 'Paired as web-pair. Rights: list, resolve, add, update, rotate, remove. Keys: all. Expires in 3 months.');
    page.asked.length = 0;
    await page.click('#forget');
    await says(page, '#pair', 'Forgotten. To revoke it: lf gateway unpair web-pair');
    assert.deepEqual([page.asked, await page.evaluate(() => sessionStorage.length)], [[], 0]);
    await leaves_nothing(page);
  },

  async 'keys go through their whole life'() {
    const { own, page, context } = await paired('life');
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const markup = '<img src=x onerror="document.title=1">';
    const arabic = '\u202eمفتاح <b>\u2067';
    await add(page, 'openai', markup, `${VALUE}\n`);
    await says(page, '#actions .told', 'Added');
    await add(page, ' Mistral ', arabic, 'second');
    await row(page, arabic).locator('#actions .told', { hasText: 'Added' }).waitFor();
    assert.equal(await page.locator('#add').isVisible(), false, 'the dialog is closed, and the new key is picked');
    assert.equal(await page.evaluate(() => document.activeElement.matches('#keys li:first-child input')), true);
    assert.deepEqual(await labels(page), [arabic, markup], 'newest first');
    assert.match(await row(page, arabic).locator('.quiet').first().textContent(), /^mistral · [\w-]{8}…$/, 'lowered');
    assert.deepEqual(await page.evaluate(() => [document.images.length, document.title]), [0, 'Funding – lf gateway']);
    assert.equal(await page.locator('#keys bdi b').count(), 0);
    assert.deepEqual(await page.$$eval('#add input, #add textarea', (fields) => fields.map((field) => field.value)), ['', '', '']);
    assert.equal(await holds(page, VALUE), false, 'not after it was sent');

    await row(page, markup).locator('label').click();
    await says(page, '#keys li:has(:checked) time', 'Never used');
    await act(page, 'Edit…');
    assert.equal(await page.inputValue('#new-label'), markup);
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await says(page, '#actions .told', 'Nothing was changed');
    await act(page, 'Edit…');
    await page.fill('#new-label', '');
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await says(page, '#new-label-bad', 'cannot be a label');
    assert.deepEqual([await focused(page), await page.getAttribute('#new-label', 'aria-invalid')], ['new-label', 'true']);
    await page.fill('#new-label', 'Prod');
    await page.keyboard.press('Enter');
    await says(page, '#actions .told', 'Saved.');
    await row(page, 'Prod').waitFor();
    const [{ id }] = JSON.parse(await lf(own, 'keys list --json'));
    const envelope = () => JSON.parse(fs.readFileSync(`${own.path}/.lenserfight/keys/${id}.json`));
    const exported = () => lf(own, 'keys export Prod --i-understand');
    assert.equal(await exported(), VALUE, 'the command line sees the same store');

    await act(page, 'Edit…');
    await page.fill('#new-value', 'sk-new\nof two lines\n');
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
    assert.equal(await holds(page, 'of two lines'), false);
    await act(page, 'Edit…');
    assert.equal(await page.inputValue('#new-value'), '');
    await page.fill('#new-value', 'sk-new\nof two lines\n');
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await says(page, '#actions .told', 'with its new value');
    await says(page, '#keys li:has(:checked) time', 'Replaced just now');
    assert.deepEqual([await exported(), await holds(page, 'of two lines')], ['sk-new\nof two lines', false]);

    const { salt, iv } = envelope();
    await more(page, 'Rotate');
    await says(page, '#actions .told', 'Encrypted again');
    assert.ok(envelope().salt !== salt && envelope().iv !== iv);
    assert.equal(await exported(), 'sk-new\nof two lines');

    await act(page, 'Copy');
    await says(page, '#actions .told', 'It stays in the clipboard');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'sk-new\nof two lines');
    assert.equal(await holds(page, 'of two lines'), false, 'it was never shown');
    const used = () => page.locator('#keys li:has(:checked) time').nth(1);
    assert.equal(await used().textContent(), 'Used just now');
    assert.ok(Math.abs(new Date(await used().getAttribute('datetime')) - Date.now()) < 60_000 && (await used().getAttribute('title')).length > 20, 'exactly, on hover');
    await page.click('#refresh');
    await says(page, '#bar', 'Up to date');
    assert.equal(await used().textContent(), 'Used just now', 'the audit log says so too');
    await more(page, 'Copy id');
    await says(page, '#copy-id', 'Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), id);
    // A browser that refuses leaves a way.
    await context.clearPermissions();
    await page.evaluate(() => (navigator.clipboard.write = () => Promise.reject(new DOMException('', 'NotAllowedError'))));
    await act(page, 'Copy');
    await says(page, '#actions [role=alert]', 'Show the value, and copy it by hand');
    await act(page, 'Show');
    await says(page, '#plain', 'of two lines');
    await says(page, '#shown', 'Leaves this page in');
    await act(page, 'Edit…');
    assert.equal(await holds(page, 'of two lines'), false, 'a dialog hides it');
    await page.keyboard.press('Escape');

    // Another key hides it, and so does leaving.
    await page.waitForTimeout(3000); // of values the gateway gives five at once, and then one a second
    await act(page, 'Show');
    await says(page, '#plain', 'of two lines');
    await row(page, arabic).locator('label').click();
    assert.equal(await holds(page, 'of two lines'), false);
    await row(page, 'Prod').locator('label').click();
    await act(page, 'Show');
    await says(page, '#plain', 'of two lines');
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
      delete document.hidden;
    });
    assert.equal(await holds(page, 'of two lines'), false);
    await act(page, 'Show');
    await says(page, '#plain', 'of two lines');
    await page.goto('about:blank');
    await page.goBack();
    await page.waitForFunction(() => document.getElementById('where').textContent);
    assert.equal(await holds(page, 'of two lines'), false);

    await row(page, 'Prod').locator('label').click();
    await act(page, 'Remove…');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Keep it', 'the careful choice is the first');
    await page.keyboard.press('Enter');
    await act(page, 'Remove…');
    await page.keyboard.press('Escape');
    assert.deepEqual(await labels(page), [arabic, 'Prod']);
    await act(page, 'Remove…');
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await says(page, '#bar .told', 'Removed Prod');
    assert.deepEqual(await labels(page), [arabic]);
    assert.equal(fs.existsSync(`${own.path}/.lenserfight/keys/${id}.json`), false);
    await leaves_nothing(page);
  },

  async 'a value leaves the page by itself'() {
    const { page } = await paired('timeout', { Prod: VALUE });
    // By the page's clock: this script may be late to look.
    await page.evaluate(() => {
      window.times = [];
      new MutationObserver(() => times.push(performance.now())).observe(document.getElementById('plain'), { childList: true });
    });
    await row(page, 'Prod').locator('label').click();
    await act(page, 'Show');
    await says(page, '#plain', VALUE);
    await says(page, '#actions .told', 'has left');
    assert.equal(await holds(page, VALUE), false);
    const [shown, left] = await page.evaluate(() => times);
    const seconds = (left - shown) / 1000;
    assert.ok(seconds > 29 && seconds < 40, `${seconds} s`);
    await leaves_nothing(page);
  },

  async 'large values come through whole, or are refused whole'() {
    const { own, page } = await paired('large');
    const large = 'ü'.repeat(32_700);
    await add(page, 'openai', 'Large', large);
    await says(page, '#actions .told', 'Added');
    assert.equal(await lf(own, 'keys export Large --i-understand'), large);
    await row(page, 'Large').locator('label').click();
    await act(page, 'Show');
    await page.locator('#shown').waitFor();
    assert.equal(await page.textContent('#plain'), large);
    await page.click('#hide');
    page.asked.length = 0;
    await add(page, 'openai', 'Larger', 'v'.repeat(65_536));
    await says(page, '#value-bad', 'too large for a browser');
    assert.deepEqual([page.asked, (await page.inputValue('#value')).length], [[], 65_536], 'nothing sent, nothing lost');
    for (const [provider, label, value, field, words] of [
      ['Open AI', 'x', 'v', 'provider', 'not a provider’s name'],
      ['', 'x', 'v', 'provider', 'not a provider’s name'],
      ['openai', 'x'.repeat(65), 'v', 'label', 'cannot be a label'],
      ['openai', 'x', '', 'value', 'no value yet'],
    ]) {
      await add(page, provider, label, value);
      await says(page, `#${field}-bad`, words);
      assert.deepEqual(await page.$$eval('[aria-invalid=true]', (all) => all.map(({ id }) => id)), [field]);
      assert.deepEqual([await focused(page), await page.inputValue('#label')], [field, label]);
    }
    await page.fill('#provider', 'OLLAMA');
    await says(page, '#hint', 'Only cloud models need a key');
    await page.fill('#provider', 'openai');
    assert.equal(await page.textContent('#hint'), '');
    await leaves_nothing(page);
  },

  async 'a token that is revoked is said to be, and the next one works'() {
    const { own, page } = await paired('revoked', { Prod: VALUE });
    await row(page, 'Prod').locator('label').click();
    await act(page, 'Edit…');
    await page.fill('#new-label', 'New');
    await lf(own, 'gateway unpair --all');
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await says(page, '#pair [role=alert]', 'no longer paired');
    assert.deepEqual(
      await page.evaluate(() => [sessionStorage.length, document.activeElement.id, document.querySelectorAll('dialog[open], #keys li').length]),
      [0, 'token', 0],
    );
    await page.fill('#token', await pair(own));
    await page.keyboard.press('Enter');
    await row(page, 'Prod').waitFor();
    await leaves_nothing(page);
  },

  async 'a gateway that ends and comes back, garbled and slow ones between'() {
    const { own, there, page } = await paired('restart', { Prod: VALUE });
    await row(page, 'Prod').locator('label').click();
    await there.stop();
    await page.click('#refresh');
    await says(page, '#bar', `lf gateway serve --keys-only --port ${there.port}`);
    await says(page, '#why-local', 'No answer');
    assert.deepEqual(await labels(page), ['Prod'], 'nothing is lost');
    const replies = [
      [200, 'text/html', '<h1>It works!</h1>'],
      [200, 'application/json', '{"keys":{}}'],
      [200, 'application/json', '{"keys":[{"id":5}]}'],
      [500, 'text/plain', 'no'],
      [404, 'application/json', '{"error":"<b>odd</b>"}'],
      [204, 'text/plain', ''],
    ];
    let reply;
    const garbled = await serve((_, response) => {
      response.writeHead(reply[0], { 'content-type': reply[1] }).end(reply[2]);
    }, { port: there.port });
    for (reply of replies) {
      await page.click('#refresh');
      await says(page, '#bar [role=alert]', 'not the gateway');
    }
    await garbled.stop();
    const slow = await serve(() => {}, { port: there.port });
    await add(page, 'openai', '', 'typed');
    await says(page, '#add .told', 'Asking the gateway');
    await says(page, '#add', 'takes too long');
    assert.equal(await page.inputValue('#value'), 'typed', 'nothing is lost');
    await slow.stop();
    const again = await gateway(own, there.port);
    await page.click('#add .main');
    await says(page, '#actions .told', 'Added.');
    await page.click('#refresh');
    await says(page, '#bar .told', 'Up to date');
    await again.stop();
    await page.click('#refresh');
    await says(page, '#bar', 'does not answer');
    await gateway(own, there.port);
    await page.locator('#bar').getByRole('button', { name: 'Try again' }).click();
    await says(page, '#bar .told', 'Up to date');
    assert.deepEqual(await labels(page), ['openai', 'Prod']);
    assert.equal(await page.evaluate(() => sessionStorage.length), 1);
    await leaves_nothing(page);
  },

  async 'the rate limit is counted down and waited out'() {
    const { there, page, token } = await paired('limit', { Prod: VALUE });
    await row(page, 'Prod').locator('label').click();
    const again = page.locator('#actions [role=alert] button');
    // What the button says may be over before this script looks.
    await page.evaluate(() => {
      window.told = [];
      const look = () => document.querySelectorAll('#actions [role=alert] button').forEach((it) => told.push([it.textContent, it.disabled]));
      new MutationObserver(look).observe(document.getElementById('actions'), { childList: true, subtree: true });
    });
    // A bucket that takes long to empty is filled meanwhile; so that is done, quickly, right before the page asks.
    const headers = { authorization: `Bearer ${token}` };
    const missing = `${there.url}/keys/${'a'.repeat(24)}/resolve`;
    await page.route('**/resolve', async (route) => {
      while ((await fetch(missing, { method: 'POST', headers })).status !== 429);
      await route.continue();
    });
    for (let count = 0; !(await again.isVisible()); count += 1) {
      assert.ok(count < 40, 'there is a limit');
      await act(page, 'Show');
      await page.locator('#shown:visible, #actions [role=alert]:visible').first().waitFor();
      if (await page.locator('#hide').isVisible()) await page.click('#hide');
    }
    await page.unroute('**/resolve');
    await says(page, '#actions', 'Too much at once');
    const [[words, isDisabled]] = await page.evaluate(() => told);
    assert.match(words, /^Try again in \d+ s$/);
    assert.equal(isDisabled, true);
    await again.and(page.locator(':enabled')).click();
    await says(page, '#plain', VALUE);

    // In a dialog too, which keeps what was typed, and the focus.
    const limited = (route) => route.fulfill({ status: 429, headers: { 'retry-after': '2' }, json: { error: 'rate_limited' } });
    await page.route('**/keys/*', limited);
    await act(page, 'Edit…');
    await page.fill('#new-label', 'New');
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await says(page, '#edit [role=alert]', 'Too much at once');
    assert.equal(await focused(page), 'Save');
    await page.unroute('**/keys/*');
    await dialog(page).getByRole('button', { name: 'Try again' }).and(page.locator(':enabled')).click();
    await says(page, '#actions .told', 'Saved.');
    assert.deepEqual([await focused(page), await labels(page)], ['Edit…', ['New']]);
    await leaves_nothing(page);
  },

  async 'every refusal has its own words and a way on'() {
    const { there, page } = await paired('refusals', { Prod: VALUE });
    await row(page, 'Prod').locator('label').click();
    await there.stop();
    let reply;
    await serve((_, response) => response.writeHead(reply[0]).end(JSON.stringify({ error: reply[1] })), { port: there.port });
    for (reply of [
      [403, 'forbidden_origin', 'refuses this page'],
      [403, 'not_permitted', 'may not do that'],
      [421, 'misdirected_request', 'refuses this page'],
      [404, 'key_not_found', 'This key is gone'],
      [422, 'decryption_failed', 'lf keys doctor'],
      [503, 'keychain_unavailable', 'keychain is locked'],
      [503, 'passphrase_missing', 'lf keys init'],
      [503, 'rekey_pending', 'rekey_pending'],
      [500, 'io_error', 'lf keys doctor'],
    ]) {
      await more(page, 'Rotate');
      await says(page, '#actions [role=alert]', reply[2]);
      await says(page, '#actions [role=alert] button', 'Try again');
    }
    await leaves_nothing(page);
  },

  async 'an answer meets what was asked, whatever a person does meanwhile'() {
    const { page } = await paired('meanwhile', { Prod: VALUE, Two: 'two' });
    const held = [];
    const hold = (url) => page.route(url, (route) => held.push(route));
    const let_go = async (url) => {
      await page.waitForFunction(() => document.body.ariaBusy === 'true');
      const isStill = await page.$$eval('button, input, select, textarea, summary', (all) => all.every(({ inert }) => inert));
      assert.ok(isStill, 'nothing else can be asked, typed or forgotten');
      while (!held.length) await page.waitForTimeout(10);
      await Promise.all(held.splice(0).map((route) => route.continue()));
      await page.unroute(url);
      await page.waitForFunction(() => document.body.ariaBusy === 'false');
    };
    await row(page, 'Prod').locator('label').click();
    await hold('**/resolve');
    await act(page, 'Show');
    await page.keyboard.type('sk a b');
    await let_go('**/resolve');
    await says(page, '#plain', VALUE);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'plain', 'no key that was pressed copies it');
    await page.click('#hide');

    await hold('**/keys/*');
    await act(page, 'Edit…');
    await page.fill('#new-label', 'New');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await let_go('**/keys/*');
    await row(page, 'New').waitFor();

    await add(page, 'openai', 'Third', 'third');
    await row(page, 'Third').waitFor();

    // Another program's words are not the gateway's, and cost no pairing.
    const other = (status, body) => page.route('**/rotate', (route) => route.fulfill({ status, contentType: 'application/json', body }));
    for (const [status, body] of [[401, '{"message":"no"}'], [401, '{"error":"login"}'], [500, '{}']]) {
      await other(status, body);
      await row(page, 'Third').locator('label').click();
      await more(page, 'Rotate');
      await says(page, '#actions [role=alert]', 'not the gateway');
      await page.unroute('**/rotate');
    }
    assert.ok(await page.evaluate(() => sessionStorage.getItem('lf-gateway-bearer')), 'still paired');
  },

  async 'ollama is asked when its button is clicked, and needs no key'() {
    const there = await gateway(home('ollama'));
    const page = await visit(await chromium.newContext(), there.url);
    page.asked.length = 0;
    await says(page, '#ollama', 'Local models need no key');
    await page.click('#ask-ollama');
    await says(page, '#ollama .told', 'No Ollama answers');
    const origins = [];
    const server = await serve((request, response) => {
      origins.push(request.url, request.headers.origin);
      response.writeHead(200, { 'access-control-allow-origin': there.url }).end('{"models":[{"name":"llama3.2:1b"},{"name":"<i>"}]}');
    }, { port: ollama });
    await page.click('#ask-ollama');
    await says(page, '#ollama .told', 'Its models: llama3.2:1b, <i>');
    assert.deepEqual(origins, ['/api/tags', there.url]);
    assert.ok(page.asked.every((asked) => asked === 'GET http://localhost:11434/api/tags'), String(page.asked));
    await server.stop();
    assert.deepEqual(page.complaints.filter((text) => !text.includes('11434')), []);
  },

  async 'a long list is filtered and sorted, and a row says how old a key is and when it ends'() {
    const own = home('long');
    await lf(own, 'keys add --provider openai --label key-1', VALUE);
    const [there, token] = [await gateway(own, await freePort()), await pair(own)];
    const page = await visit(await chromium.newContext(), there.url);
    const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString();
    const key = (number, more) => ({ id: `${number}`.padStart(24, 'a'), provider: number % 2 ? 'openai' : 'mistral', label: `key-${number}`, createdAt: day(number - 400), lastUsedAt: null, ...more });
    let listed = Array.from({ length: 9 }, (_, index) => key(index + 1));
    await page.route('**/keys?*', (route) => route.fulfill({ json: { keys: listed } }));
    await page.fill('#token', token);
    await page.keyboard.press('Enter');
    await says(page, '#why-local', 'Keys: 9');
    assert.equal(await page.locator('#filter').isVisible(), false, 'nine are seen at once');
    listed = [...listed, key(10, { rotatedAt: day(-40), lastUsedAt: day(-2) }), key(11, { expiresAt: day(3) }), key(12, { expiresAt: day(-2) }), key(13, { expiresAt: day(300) })];
    await page.click('#refresh');
    await says(page, '#why-local', 'Keys: 13');
    assert.deepEqual((await labels(page)).slice(0, 4), ['key-13', 'key-12', 'key-11', 'key-10']);
    const times = (label) => row(page, label).locator('time').allTextContents();
    assert.deepEqual(await times('key-10'), ['Replaced last month', 'Used 2 days ago', 'Expires']);
    assert.deepEqual(await times('key-11'), ['Added last year', 'Never used', 'Expires in 3 days']);
    assert.equal((await times('key-12'))[2], 'Expired 2 days ago');
    assert.deepEqual(await page.locator('.soon:visible').count(), 2);
    assert.equal(await row(page, 'key-10').locator('.tag').isVisible(), false);
    // What a person looks at stays where it is.
    await page.mouse.wheel(0, 300);
    await page.waitForFunction(() => scrollY >= 300);
    const before = await page.evaluate(() => scrollY);
    await page.evaluate(() => document.getElementById('refresh').click());
    await page.waitForFunction(() => document.body.ariaBusy === 'false');
    await says(page, '#bar', 'Up to date');
    assert.equal(await page.evaluate(() => scrollY), before);
    await page.selectOption('#sort', 'label');
    assert.deepEqual((await labels(page)).slice(0, 3), ['key-1', 'key-2', 'key-3'], 'by number where there is one');
    await row(page, 'key-12').locator('label').click();
    await page.fill('#filter', 'MISTRAL');
    assert.deepEqual(await labels(page), ['key-2', 'key-4', 'key-6', 'key-8', 'key-10', 'key-12']);
    assert.equal(await page.locator('#actions').isVisible(), true, 'what is picked stays picked');
    await page.fill('#filter', `${'a'.repeat(22)}11`);
    assert.deepEqual([await labels(page), await page.locator('#actions').isVisible()], [['key-11'], false]);
    await page.fill('#filter', 'nowhere');
    await says(page, '#empty', 'No key matches');
    await page.fill('#filter', '');
    assert.equal(await page.locator('#keys :checked').count(), 0);
    await leaves_nothing(page);
  },

  async 'a screen reader hears which key each control is about, and what became of it'() {
    const { page, context } = await paired('ear', { Prod: VALUE, Test: VALUE });
    const browser = await context.newCDPSession(page);
    /** The tree that a screen reader is given: controls and headings with their groups, and descriptions. */
    const tree = async () => {
      const { nodes } = await browser.send('Accessibility.getFullAXTree');
      const byId = Object.fromEntries(nodes.map((node) => [node.nodeId, node]));
      const told = [];
      const walk = ({ role, name, description, childIds = [] }, groups) => {
        const text = name?.value ?? '';
        if (/^(button|radio|textbox|combobox|searchbox|DisclosureTriangle|heading)$/.test(role?.value)) told.push([...groups, text, ...(description?.value ? [description.value] : [])].join(' > '));
        const inner = /^(group|dialog|list)$/.test(role?.value) && text ? [...groups, text] : groups;
        for (const id of childIds) walk(byId[id], inner);
      };
      walk(nodes[0], []);
      return told;
    };
    const heard = () => page.textContent('#heard');
    await row(page, 'Prod').locator('label').click();
    const short = (told) => told.map((text) => text.replace(/ · \S{8}… Added (just now|\d+ minutes? ago) /, ', '));
    assert.deepEqual(short(await tree()), [
      'Funding', 'Local Keys', 'Forget this gateway', 'Sort', 'Refresh', 'Add key…',
      'Keys > Test openai, Never used',
      'Keys > Prod openai, Never used',
      ...['Copy', 'Show', 'Edit…', 'Remove…', 'More'].map((act) => `Keys > Prod > ${act}`),
      'Ollama', 'Look for models', 'On LenserFight Cloud',
    ]);
    await act(page, 'Show');
    await says(page, '#plain', VALUE);
    assert.ok((await tree()).includes('Keys > Prod > Value > Hide'));
    await page.click('#hide');
    assert.equal(await heard(), 'The value has left this page.');
    await act(page, 'Edit…');
    assert.deepEqual(await tree(), ['Edit Prod', 'Label', 'New value', 'Save', 'Cancel'].map((text) => `Edit Prod > ${text}`));
    await page.fill('#new-label', 'Main');
    await page.keyboard.press('Enter');
    await says(page, '#actions .told', 'Saved.');
    assert.equal(await heard(), 'Saved.');
    assert.ok((await tree()).includes('Keys > Main > Copy'));
    await add(page, 'Open AI', '', 'v');
    await says(page, '#provider-bad', 'not a provider');
    assert.ok((await tree()).includes('Add a key > Provider > That is not a provider’s name. Use 2–32 of a–z, 0–9, - and _.'));
    await page.keyboard.press('Escape');
    if (await page.locator('#add').isVisible()) await page.keyboard.press('Escape');
    await act(page, 'Remove…');
    assert.deepEqual(await tree(), ['Remove Main?', 'Keep it', 'Remove'].map((text) => `Remove Main? > ${text}`));
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await says(page, '#bar .told', 'Removed');
    assert.equal(await heard(), 'Removed Main.');
    await leaves_nothing(page);
  },

  async 'a pairing with few rights is told which, and offered nothing else'() {
    const own = home('rights');
    const id = await lf(own, 'keys add --provider openai --label Prod', VALUE);
    await lf(own, 'keys add --provider openai --label Other', VALUE);
    const token = await pair(own, ['--name', 'a; reader', '--key', id, '--allow', 'list,resolve', '--expires', 'never']);
    const page = await visit(await chromium.newContext(), (await gateway(own)).url);
    await page.fill('#token', token);
    await page.keyboard.press('Enter');
    await says(page, '#who', 'Paired as a; reader. Rights: list, resolve. Keys: 1. Does not expire.');
    assert.deepEqual(await labels(page), ['Prod']);
    await row(page, 'Prod').locator('label').click();
    const disabled = await page.$$eval('[data-act]:disabled', (all) => all.map(({ dataset }) => dataset.act));
    assert.deepEqual(disabled.sort(), ['add', 'edit', 'remove', 'rotate']);
    await act(page, 'Show');
    await says(page, '#plain', VALUE);
    await page.click('#forget');
    await says(page, '#pair', 'To revoke it: lf gateway unpair NAME');
    await leaves_nothing(page);
  },
});
