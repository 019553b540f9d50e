// The keyboard alone, from the token to the last key: BROWSER=chromium, or firefox-esr by WebDriver BiDi.
// On the way axe looks at every state, and everything must fit and stand out, light and dark.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { BROWSER, launch, person } from './either.mjs';
import { VALUE, all, freePort, gateway, holds, home, lf, pair } from './stage.mjs';

async function walk(scheme) {
  const own = home(`keyboard-${scheme}`);
  await lf(own, 'keys add --provider openai --label Prod', VALUE);
  const there = await gateway(own, await freePort());
  const token = await pair(own);
  const browser = await launch(scheme);
  const { page, until, focused, says, press, type, overwrite, reach, look, near, leaves } = await person(browser, there.url, scheme);
  await until(() => document.activeElement.id === 'token');
  await look('not paired');
  await type('x');
  await press('Enter');
  await says('#token-bad', 'not a pairing token');
  await look('a wrong token');
  await overwrite(token);
  await press('Tab');
  assert.equal(await focused(), 'Pair gateway');
  await press('Enter');
  await says('#bar .told', 'Paired.');
  await until(() => document.activeElement.id === 'local-title');
  await look('paired');

  await reach('Prod');
  await press(' ');
  await until(() => document.querySelector('#keys :checked') !== null);
  await press('Tab');
  assert.equal(await focused(), 'Copy');
  await press('Tab', 'Enter');
  await says('#plain', VALUE);
  await until(() => document.activeElement.id === 'plain');
  await look('shown');
  await press('Tab');
  assert.equal(await focused(), 'hide');
  await press('Enter');
  assert.deepEqual([await focused(), await holds(page, VALUE)], ['Show', false], 'focus is not lost');
  await press('Tab', 'Enter');
  await until(() => document.activeElement.id === 'new-label');
  await look('edit');
  await overwrite('Main');
  await press('Enter');
  await says('#actions .told', 'Saved.');
  await near('#actions .told');
  await until(() => document.activeElement.textContent === 'Edit…');
  await reach('Remove…');
  await press('Enter');
  await until(() => document.activeElement.textContent === 'Keep it');
  await look('remove');
  await press('Escape');
  await until(() => document.activeElement.textContent === 'Remove…');
  await press('Tab', 'Enter');
  await reach('Rotate');
  await press('Enter');
  await says('#actions .told', 'Encrypted again');
  await near('#actions .told');
  await until(() => document.activeElement.textContent === 'Rotate');
  await look('more');

  await reach('Add key…', true);
  await press('Enter');
  await until(() => document.activeElement.id === 'provider');
  await type('Open AI');
  await press('Escape'); // the browser's own list, where it shows one
  if (!(await page.evaluate(() => document.getElementById('add').open))) {
    await press('Enter');
    await until(() => document.activeElement.id === 'provider');
    await type('Open AI');
  }
  await reach('value');
  await type('second');
  await reach('Add key');
  await press('Enter');
  await says('#provider-bad', 'not a provider');
  await until(() => document.activeElement.id === 'provider' && document.activeElement.ariaInvalid === 'true');
  await look('a wrong field');
  await overwrite('MISTRAL');
  await reach('Add key');
  await press('Enter');
  await says('#actions .told', 'Added.');
  await until(() => document.activeElement.closest('li')?.querySelector('bdi').textContent === 'mistral');
  await near('#actions .told');

  // 200 keys: a list reads what is beside the encrypted value, so copies of one file do.
  const keys = `${own.path}/.lenserfight/keys`;
  const [{ id }] = JSON.parse(await lf(own, 'keys list --json'));
  const envelope = JSON.parse(fs.readFileSync(`${keys}/${id}.json`, 'utf8'));
  for (let number = 2; number < 200; number += 1) {
    const copy = `${number}`.padStart(24, 'k');
    const meta = { ...envelope.meta, id: copy, label: `key-${number}` };
    fs.writeFileSync(`${keys}/${copy}.json`, JSON.stringify({ ...envelope, meta }), { mode: 0o600 });
  }
  await reach('refresh', true);
  await press('Enter');
  await says('#why-local', 'Keys: 200');
  await reach('filter', true);
  await type('key-150');
  await until(() => document.querySelectorAll('#keys li').length === 1);
  await look('filtered');
  await overwrite('n');
  await press('Backspace');
  await until(() => document.querySelectorAll('#keys li').length === 200);
  await reach('refresh');
  await there.stop();
  await press('Enter');
  await says('#bar [role=alert]', 'does not answer');
  await near('#bar .told');
  await look('down');
  const again = await gateway(own, there.port);
  await reach('Try again');
  await press('Enter');
  await says('#bar .told', 'Up to date');

  // The bucket refills meanwhile on a slow machine; so it is emptied right before. (By the short way: the long one
  // leads through Firefox's own window, after which its driver's space bar activates nothing.)
  assert.equal(await focused(), 'refresh', 'the focus is where it was');
  await reach('filter', true);
  await type('Main');
  await until(() => document.querySelectorAll('#keys li').length === 1);
  await reach('Main');
  await press(' ');
  await until(() => document.querySelector('#keys :checked') !== null && document.getElementById('actions').checkVisibility());
  await reach('Show');
  const headers = { authorization: `Bearer ${token}` };
  for (let count = 0; ; count += 1) {
    assert.ok(count < 40, 'there is a limit');
    while ((await fetch(`${again.url}/keys/${'a'.repeat(24)}/resolve`, { method: 'POST', headers })).status !== 429);
    await press('Enter');
    await until(() => document.body.ariaBusy === 'false' && (!document.getElementById('shown').hidden || document.querySelector('#actions [role=alert]') !== null));
    if (await page.evaluate(() => document.getElementById('shown').hidden)) break;
    await reach('hide');
    await press('Enter');
  }
  await says('#actions [role=alert]', 'Too much at once');
  await near('#actions .told');
  await look('rate limited');

  await lf(own, 'gateway unpair --all');
  await reach('refresh', true);
  await press('Enter');
  await says('#pair [role=alert]', 'no longer paired');
  await until(() => document.activeElement.id === 'token');
  await look('revoked');
  await leaves();
  await again.stop();
}

await all({
  async [`the keyboard is enough in ${BROWSER}`]() {
    for (const scheme of ['light', 'dark']) await walk(scheme);
  },
});
