// The mouse in place of the keyboard, but for what is typed: a key's whole life, light and dark.

import assert from 'node:assert/strict';
import { BROWSER, launch, person } from './either.mjs';
import { VALUE, all, freePort, gateway, holds, home, lf, pair } from './stage.mjs';

async function walk(scheme) {
  const own = home(`mouse-${scheme}`);
  for (let number = 1; number < 10; number += 1) await lf(own, `keys add --provider mistral --label key-${number}`, VALUE);
  const there = await gateway(own, await freePort());
  const browser = await launch(scheme);
  const { page, until, says, type, overwrite, click, look, near, leaves } = await person(browser, there.url, scheme, { width: 1000, height: 700 });
  const picked = (label) => until((label) => document.querySelector('#keys :checked')?.closest('li').querySelector('bdi').textContent === label, label);
  await click('#token');
  await type(await pair(own));
  await click('#pair .main');
  await says('#bar .told', 'Paired.');
  await look('paired');

  await click('[data-act=add]');
  await click('#provider');
  await type('OpenAI');
  await click('#label');
  await type('Prod');
  await click('#value');
  await type(VALUE);
  await look('add');
  await click('#add .main');
  await says('#actions .told', 'Added.');
  await picked('Prod');
  await near('#actions .told');
  await look('added');

  await click('#actions button', 'Show');
  await says('#plain', VALUE);
  await near('#shown');
  await look('shown');
  await click('#hide');
  await says('#actions .told', 'has left');
  assert.equal(await holds(page, VALUE), false);
  await click('#actions button', 'Copy');
  await says('#actions .told', 'Copied, not shown');
  await near('#actions .told');
  await look('copied');
  assert.equal(await holds(page, VALUE), false);

  await click('#actions button', 'Edit…');
  await click('#new-label');
  await overwrite('Main');
  await click('#new-value');
  await type('another');
  await look('edit');
  await click('#edit .main');
  await says('#actions .told', 'with its new value');
  await picked('Main');
  await near('#actions .told');
  await click('summary');
  await click('#actions button', 'Rotate');
  await says('#actions .told', 'Encrypted again');
  await near('#actions .told');
  await look('more');
  assert.equal(await lf(own, 'keys export Main --i-understand'), 'another', 'what was typed is what is kept');

  await click('#filter');
  await type('key-7');
  await click('#keys label', 'key-7');
  await picked('key-7');
  await look('filtered');
  await click('#actions .danger');
  await look('remove');
  await click('#remove .cancel');
  await click('#actions .danger');
  await click('#remove .danger');
  await says('#bar .told', 'Removed key-7.');
  await near('#bar .told');
  await look('removed');
  await click('#forget');
  await says('#pair .told', 'Forgotten');
  await near('#pair .told');
  await look('forgotten');
  assert.equal((await lf(own, 'keys list')).includes('key-7'), false);
  await leaves();
  await there.stop();
}

await all({
  async [`the mouse is enough in ${BROWSER}`]() {
    for (const scheme of ['light', 'dark']) await walk(scheme);
  },
});
