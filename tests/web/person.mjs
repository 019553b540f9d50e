// A person with the binary and a browser: pairs, and manages keys on the gateway's own page.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { VALUE, all, browser, fits, freePort, gateway, holds, home, leaves_nothing, lf, pair, says, serve, stands_out, visit } from './stage.mjs';

const ollama = await freePort();
const chromium = await browser([`--host-resolver-rules=MAP localhost:11434 127.0.0.1:${ollama}`]);
const tile = (page, name) => page.locator('.tiles button', { hasText: name }).click();
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
  await tile(page, 'Local Keys');
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await page.locator('#picker').waitFor();
  return { own, there, context, page, token };
}

async function add(page, provider, label, value) {
  if (!(await page.locator('#add').isVisible())) await page.click('summary');
  await page.fill('#provider', provider);
  await page.fill('#label', label);
  await page.fill('#value', value);
  await page.click('#add button');
}

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
    assert.equal(await page.locator('#legacy').isVisible(), false, 'once');
    // The other sources say what they need, and ask nobody.
    page.asked.length = 0;
    await tile(page, 'Chainabit Credits');
    await says(page, '#chainabit', 'needs LenserFight Cloud');
    await tile(page, 'LF Cloud Keys');
    await says(page, '#cloud', 'needs LenserFight Cloud');
    assert.equal(await page.locator('#chainabit').isVisible(), false);
    await tile(page, 'Local Keys');
    await says(page, '#pair', 'Paste your pairing token below ↓');
    assert.deepEqual(page.asked, []);
    await leaves_nothing(page);
  },

  async 'a token is checked, proved and trimmed'() {
    const own = home('token');
    const [there, token] = [await gateway(own), await pair(own)];
    const page = await visit(await chromium.newContext(), there.url);
    await tile(page, 'Local Keys');
    page.asked.length = 0;
    for (const wrong of ['', token.slice(1), `${token}x`, `${token.slice(0, 42)}+`, `${token.slice(0, 20)} ${token.slice(21)}`]) {
      await page.fill('#token', wrong);
      await page.getByRole('button', { name: 'Pair gateway' }).click();
      await says(page, '#notice', 'not a pairing token');
      assert.equal(await page.inputValue('#token'), wrong, 'nothing is lost');
    }
    assert.deepEqual(page.asked, [], 'nothing was sent');
    await page.fill('#token', 'A'.repeat(43));
    await page.getByRole('button', { name: 'Pair gateway' }).click();
    await says(page, '#notice', 'does not know this token');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'kept only when proved');
    await page.fill('#token', `  ${token}\t `);
    await page.getByRole('button', { name: 'Pair gateway' }).click();
    await says(page, '#empty', 'lf keys add');
    assert.equal(await page.locator('#notice').isVisible(), false);
    assert.deepEqual(await page.evaluate(() => Object.entries(sessionStorage)), [['lf-gateway-bearer', token]]);
    assert.equal(await page.inputValue('#token'), '');
    assert.ok(page.asked.every((asked) => !asked.includes(token)), 'never in a URL');
    // A line end cannot be typed into the field; the client takes it all the same.
    const count = await page.evaluate(async (text) => (await (await import('/client.js')).pair(text)).length, `\r\n ${token} \n`);
    assert.equal(count, 0);
    // A reload stays paired; forgetting asks nobody and keeps nothing.
    await page.reload();
    await tile(page, 'Local Keys');
    await page.locator('#picker').waitFor();
    page.asked.length = 0;
    await page.click('#forget');
    await says(page, '#status', 'forgotten');
    assert.deepEqual([page.asked, await page.evaluate(() => sessionStorage.length)], [[], 0]);
    await leaves_nothing(page);
  },

  async 'keys go through their whole life'() {
    const { own, page, context } = await paired('life');
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const markup = '<img src=x onerror="document.title=1">';
    const arabic = '\u202eمفتاح <b>\u2067';
    await add(page, 'openai', markup, `${VALUE}\n`);
    await says(page, '#status', 'Added');
    await add(page, 'mistral', arabic, 'second');
    await row(page, arabic).waitFor();
    assert.deepEqual(await labels(page), [markup, arabic]);
    assert.deepEqual(await page.evaluate(() => [document.images.length, document.title]), [0, 'Funding – lf gateway']);
    assert.equal(await page.locator('#keys bdi b').count(), 0);
    assert.deepEqual(await page.$$eval('#add input, #add textarea', (fields) => fields.map((field) => field.value)), ['', '', '']);
    assert.equal(await holds(page, VALUE), false, 'not after it was sent');

    await row(page, markup).locator('label').click();
    await says(page, '#keys li:has(:checked) .when', 'never');
    await act(page, 'Rename…');
    assert.equal(await page.inputValue('#new-label'), markup);
    await page.fill('#new-label', '');
    await dialog(page).getByRole('button', { name: 'Rename' }).click();
    await says(page, '#rename', 'cannot be a label');
    await page.fill('#new-label', 'Prod');
    await page.keyboard.press('Enter');
    await row(page, 'Prod').waitFor();
    const [{ id }] = JSON.parse(await lf(own, 'keys list --json'));
    const envelope = () => JSON.parse(fs.readFileSync(`${own.path}/.lenserfight/keys/${id}.json`));
    const exported = () => lf(own, 'keys export Prod --i-understand');
    assert.equal(await exported(), VALUE, 'the command line sees the same store');

    await act(page, 'Replace value…');
    await page.fill('#new-value', 'sk-new\nof two lines\n');
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
    assert.equal(await holds(page, 'of two lines'), false);
    await act(page, 'Replace value…');
    assert.equal(await page.inputValue('#new-value'), '');
    await page.fill('#new-value', 'sk-new\nof two lines\n');
    await dialog(page).getByRole('button', { name: 'Replace', exact: true }).click();
    await says(page, '#status', 'Replaced the value of Prod');
    assert.deepEqual([await exported(), await holds(page, 'of two lines')], ['sk-new\nof two lines', false]);

    const { salt, iv } = envelope();
    await act(page, 'Rotate');
    await says(page, '#status', 're-encrypted');
    assert.ok(envelope().salt !== salt && envelope().iv !== iv);
    assert.equal(await exported(), 'sk-new\nof two lines');

    await act(page, 'Show value');
    await says(page, '#plain', 'of two lines');
    await says(page, '#shown', 'Leaves this page in');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'plain');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await says(page, '#status', 'Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'sk-new\nof two lines');
    assert.equal(await holds(page, 'of two lines'), false, 'not after it was copied');
    const used = () => page.locator('#keys li:has(:checked) time').last().textContent();
    assert.notEqual(await used(), 'never');
    await page.click('#refresh');
    await page.waitForFunction(() => document.body.ariaBusy === 'false');
    assert.notEqual(await used(), 'never', 'the audit log says so too');

    // Another key hides it, and so does leaving.
    await act(page, 'Show value');
    await says(page, '#plain', 'of two lines');
    await row(page, arabic).locator('label').click();
    assert.equal(await holds(page, 'of two lines'), false);
    await row(page, 'Prod').locator('label').click();
    await act(page, 'Show value');
    await says(page, '#plain', 'of two lines');
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
      delete document.hidden;
    });
    assert.equal(await holds(page, 'of two lines'), false);
    await act(page, 'Show value');
    await says(page, '#plain', 'of two lines');
    await page.fill('#value', 'typed and not sent').catch(() => {});
    await page.goto('about:blank');
    await page.goBack();
    await page.waitForFunction(() => document.getElementById('where').textContent);
    assert.equal(await holds(page, 'of two lines'), false);
    await tile(page, 'Local Keys');

    await row(page, 'Prod').locator('label').click();
    await act(page, 'Remove…');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Keep it', 'the careful choice is the first');
    await page.keyboard.press('Enter');
    await act(page, 'Remove…');
    await page.keyboard.press('Escape');
    assert.deepEqual(await labels(page), ['Prod', arabic]);
    await act(page, 'Remove…');
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await says(page, '#status', 'Removed Prod');
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
    await act(page, 'Show value');
    await says(page, '#plain', VALUE);
    await says(page, '#status', 'has left');
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
    await says(page, '#status', 'Added Large');
    assert.equal(await lf(own, 'keys export Large --i-understand'), large);
    await row(page, 'Large').locator('label').click();
    await act(page, 'Show value');
    await page.locator('#shown').waitFor();
    assert.equal(await page.textContent('#plain'), large);
    await page.click('#hide');
    page.asked.length = 0;
    await add(page, 'openai', 'Larger', 'v'.repeat(65_536));
    await says(page, '#add', 'too large for a browser');
    assert.deepEqual([page.asked, (await page.inputValue('#value')).length], [[], 65_536], 'nothing sent, nothing lost');
    for (const [provider, label, value, words] of [
      ['Open AI', 'x', 'v', 'not a provider’s name'],
      ['openai', 'x'.repeat(65), 'v', 'cannot be a label'],
      ['openai', 'x', '', 'no value yet'],
    ]) {
      await add(page, provider, label, value);
      await says(page, '#add', words);
      assert.equal(await page.inputValue('#label'), label);
    }
    await leaves_nothing(page);
  },

  async 'a token that is revoked is said to be, and the next one works'() {
    const { own, page } = await paired('revoked', { Prod: VALUE });
    await row(page, 'Prod').locator('label').click();
    await act(page, 'Rename…');
    await lf(own, 'gateway unpair --all');
    await dialog(page).getByRole('button', { name: 'Rename' }).click();
    await says(page, '#notice', 'no longer paired');
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
    await says(page, '#notice', `lf gateway serve --keys-only --port ${there.port}`);
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
      await says(page, '#notice', 'not the gateway');
    }
    await garbled.stop();
    const slow = await serve(() => {}, { port: there.port });
    await page.locator('summary').click();
    await page.fill('#provider', 'openai');
    await page.fill('#value', 'typed');
    await page.click('#add button');
    await says(page, '#status', 'Asking the gateway');
    await says(page, '#add', 'takes too long');
    assert.equal(await page.inputValue('#value'), 'typed', 'nothing is lost');
    await slow.stop();
    const again = await gateway(own, there.port);
    await page.click('#add button');
    await says(page, '#status', 'Added openai');
    await page.click('#refresh');
    await says(page, '#keys', 'Prod');
    await again.stop();
    await page.click('#refresh');
    await says(page, '#notice', 'does not answer');
    await gateway(own, there.port);
    await page.click('#notice button');
    await page.waitForFunction(() => document.getElementById('notice').hidden);
    assert.deepEqual(await labels(page), ['Prod', 'openai']);
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
      await act(page, 'Show value');
      await page.locator('#shown:visible, #actions [role=alert]:visible').first().waitFor();
      if (await page.locator('#hide').isVisible()) await page.click('#hide');
    }
    await page.unroute('**/resolve');
    await says(page, '#actions', 'Too many values at once');
    const [[words, isDisabled]] = await page.evaluate(() => told);
    assert.match(words, /^Try again in \d+ s$/);
    assert.equal(isDisabled, true);
    await again.and(page.locator(':enabled')).click();
    await says(page, '#plain', VALUE);
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
      [421, 'misdirected_request', 'refuses this page'],
      [404, 'key_not_found', 'This key is gone'],
      [422, 'decryption_failed', 'lf keys doctor'],
      [503, 'keychain_unavailable', 'keychain is locked'],
      [503, 'passphrase_missing', 'lf keys init'],
      [503, 'rekey_pending', 'rekey_pending'],
      [500, 'io_error', 'lf keys doctor'],
    ]) {
      await act(page, 'Rotate');
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
      const isStill = await page.evaluate(() => document.getElementById('local').inert && document.querySelector('.tiles').inert);
      assert.ok(isStill, 'nothing else can be asked, typed or forgotten');
      while (!held.length) await page.waitForTimeout(10);
      await Promise.all(held.splice(0).map((route) => route.continue()));
      await page.unroute(url);
      await page.waitForFunction(() => document.body.ariaBusy === 'false');
    };
    await row(page, 'Prod').locator('label').click();
    await hold('**/resolve');
    await act(page, 'Show value');
    await page.keyboard.type('sk a b');
    await let_go('**/resolve');
    await says(page, '#plain', VALUE);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'plain', 'no key that was pressed copies it');
    await page.click('#hide');

    await hold('**/keys/*');
    await act(page, 'Rename…');
    await page.fill('#new-label', 'New');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await let_go('**/keys/*');
    await row(page, 'New').waitFor();

    // Done, and only the list behind it fails: both are said.
    await page.route('**/keys?*', (route) => route.abort());
    await add(page, 'openai', 'Third', 'third');
    await says(page, '#status', 'Added Third');
    await says(page, '#notice', 'does not answer');
    await page.unroute('**/keys?*');
    await page.locator('#notice').getByRole('button', { name: 'Try again' }).click();
    await row(page, 'Third').waitFor();

    // Another program's words are not the gateway's, and cost no pairing.
    const other = (status, body) => page.route('**/rotate', (route) => route.fulfill({ status, contentType: 'application/json', body }));
    for (const [status, body] of [[401, '{"message":"no"}'], [401, '{"error":"login"}'], [500, '{}']]) {
      await other(status, body);
      await row(page, 'Third').locator('label').click();
      await act(page, 'Rotate');
      await says(page, '#actions [role=alert]', 'not the gateway');
      await page.unroute('**/rotate');
    }
    assert.ok(await page.evaluate(() => sessionStorage.getItem('lf-gateway-bearer')), 'still paired');
  },

  async 'ollama is asked when its tile is opened, and needs no key'() {
    const there = await gateway(home('ollama'));
    const page = await visit(await chromium.newContext(), there.url);
    page.asked.length = 0;
    await tile(page, 'Ollama');
    await says(page, '#ollama', 'They need no key');
    await says(page, '#models', 'No Ollama answers');
    const origins = [];
    const server = await serve((request, response) => {
      origins.push(request.url, request.headers.origin);
      response.writeHead(200, { 'access-control-allow-origin': there.url }).end('{"models":[{"name":"llama3.2:1b"},{"name":"<i>"}]}');
    }, { port: ollama });
    await page.click('#ask-ollama');
    await says(page, '#models', 'llama3.2:1b, <i>');
    assert.deepEqual(origins, ['/api/tags', there.url]);
    assert.ok(page.asked.every((asked) => asked === 'GET http://localhost:11434/api/tags'), String(page.asked));
    await server.stop();
    assert.deepEqual(page.complaints.filter((text) => !text.includes('11434')), []);
  },

  async 'the keyboard is enough, and everything fits and stands out'() {
    const own = home('keyboard');
    await lf(own, 'keys add --provider openai --label Prod', VALUE);
    const [there, token] = [await gateway(own), await pair(own)];
    for (const colorScheme of ['light', 'dark']) {
      const context = await chromium.newContext({ colorScheme, viewport: { width: 320, height: 640 } });
      const page = await visit(context, there.url);
      const look = async () => {
        await fits(page);
        await stands_out(page);
      };
      const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
      const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);
      await look();
      await press('Tab', 'Enter');
      await look();
      await press('Tab', 'Enter');
      await look();
      await press('Tab', 'Enter');
      assert.equal(await focused(), 'token');
      await press('x', 'Enter');
      await says(page, '#notice', 'not a pairing token');
      await look();
      await press('Control+A');
      await page.keyboard.insertText(token);
      await press('Tab');
      assert.equal(await focused(), 'Pair gateway');
      await press('Enter');
      await row(page, 'Prod').waitFor();
      assert.equal(await focused(), 'Local Keys');
      await look();
      await press('Tab', 'Space');
      assert.equal(await page.locator('#keys :checked').count(), 1);
      await press('Tab');
      assert.equal(await focused(), 'Show value');
      await press('Enter');
      await says(page, '#plain', VALUE);
      await look();
      await press('Tab', 'Tab');
      assert.equal(await focused(), 'Hide');
      await press('Enter');
      assert.equal(await focused(), 'Show value', 'focus is not lost');
      await press('Tab', 'Enter');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'new-label');
      await look();
      await press('Enter');
      await says(page, '#status', 'Renamed to Prod');
      assert.equal(await focused(), 'Rename…', 'back where it came from');
      await press('Tab', 'Tab', 'Enter');
      await says(page, '#status', 're-encrypted');
      assert.equal(await focused(), 'Rotate', 'focus survives a new list');
      await press('Tab', 'Enter');
      await look();
      await press('Escape', 'Tab', 'Enter');
      assert.equal(await page.locator('#add').isVisible(), true);
      await look();
      await leaves_nothing(page);
      await context.close();
    }
  },
});
