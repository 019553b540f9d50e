// The client as a product: its types, the rules of the Funding panel, and the legacy store.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLIENT, ROOM, all, app, browser, start, visit } from './stage.mjs';

const here = dirname(fileURLToPath(import.meta.url));
fs.copyFileSync(CLIENT, `${ROOM}/client.mjs`);
const { fundingSources } = await import(resolve(ROOM, 'client.mjs'));

/** What the compiler says of a client and of what uses it. */
async function check(name, client, uses) {
  const room = resolve(ROOM, name);
  fs.mkdirSync(room);
  fs.writeFileSync(`${room}/client.js`, client);
  fs.writeFileSync(`${room}/uses.ts`, uses);
  // What is internal is inferred; what is exported has types.
  const options = '--checkJs --strict --noImplicitAny false --useUnknownInCatchVariables false --noEmit --target es2022 --module es2022 --moduleResolution bundler --lib es2024,dom,dom.iterable --types --pretty false';
  const tsc = start(`${here}/node_modules/.bin/tsc`, [...options.split(' ').flatMap((it) => (it === '--types' ? [it, ''] : [it])), `${room}/client.js`, `${room}/uses.ts`]);
  let out = '';
  tsc.stdout.on('data', (data) => (out += data));
  tsc.stderr.on('data', (data) => (out += data));
  return [await tsc.ended, out];
}

/** Each line below such a comment must be an error, or the compiler complains. */
const USES = `
import * as lf from './client.js';
const [key]: lf.Key[] = await lf.pair('token');
const added: lf.Key = await lf.add({ provider: 'openai', label: 'Prod', rawKey: 'v' });
const value: string = await lf.resolve(added.id);
const me: lf.Pairing = await lf.whoami();
const until: string | null = me.expiresAt;
const { selected } = lf.fundingSources({ cloud: true, balance: null, cloudKeys: 0, gateway: null }, 'cloud');
const isDue: boolean = await lf.forgetLegacyStore();
new lf.GatewayError('key_not_found').code satisfies string;
console.log(key, value, until, selected === 'local', isDue);
// @ts-expect-error
await lf.add({ provider: 'openai', rawKey: 'v' });
// @ts-expect-error
await lf.resolve(5);
// @ts-expect-error
added.rawKey;
// @ts-expect-error
lf.fundingSources({ cloud: true, balance: '0', cloudKeys: 0, gateway: null });
// @ts-expect-error
lf.fundingSources({ cloud: true, balance: 0, cloudKeys: 0, gateway: null }, 'ollama');
// @ts-expect-error
selected === 'ollama';
`;

/** Why each source cannot pay, by what it depends on; null: it can. */
const CHAINABIT = {
  'elsewhere null': 'needs_cloud', 'elsewhere 0': 'needs_cloud', 'elsewhere -1': 'needs_cloud', 'elsewhere 0.01': 'needs_cloud',
  'cloud null': 'not_connected', 'cloud 0': 'no_credits', 'cloud -1': 'no_credits', 'cloud 0.01': null,
};
const CLOUD = { 'elsewhere 0': 'needs_cloud', 'elsewhere 2': 'needs_cloud', 'cloud 0': 'no_keys', 'cloud 2': null };
const GATEWAYS = [
  [null, 'gateway_unreachable'],
  [{ isPaired: false, keys: 0 }, 'gateway_not_paired'],
  [{ isPaired: false, keys: 3 }, 'gateway_not_paired'],
  [{ isPaired: true, keys: 0 }, 'no_keys'],
  [{ isPaired: true, keys: 3 }, null],
];
/** What pays: by what can pay, and by what was chosen: nothing, chainabit, cloud, local. */
const SELECTED = {
  '': [null, null, null, null],
  'chainabit': ['chainabit', 'chainabit', 'chainabit', 'chainabit'],
  'cloud': ['cloud', 'cloud', 'cloud', 'cloud'],
  'local': ['local', 'local', 'local', 'local'],
  'chainabit cloud': ['chainabit', 'chainabit', 'cloud', 'chainabit'],
  'chainabit local': ['chainabit', 'chainabit', 'chainabit', 'local'],
  'cloud local': ['cloud', 'cloud', 'cloud', 'local'],
  'chainabit cloud local': ['chainabit', 'chainabit', 'cloud', 'local'],
};

await all({
  async 'the client has the types that it says'() {
    const client = fs.readFileSync(CLIENT, 'utf8');
    assert.deepEqual(await check('right', client, USES), [0, '']);
    const [status, out] = await check('wrong', `${client}\nadd('not a key');\n`, USES);
    assert.notEqual(status, 0, 'its own code is checked');
    assert.match(out, /client\.js\(\d+,\d+\): error TS2345/);
  },

  async 'every combination of sources has its answer'() {
    let count = 0;
    const seen = new Set();
    for (const cloud of [false, true]) {
      for (const balance of [null, 0, -1, 0.01]) {
        for (const cloudKeys of [0, 2]) {
          for (const [gateway, why] of GATEWAYS) {
            const place = cloud ? 'cloud' : 'elsewhere';
            const whys = { chainabit: CHAINABIT[`${place} ${balance}`], cloud: CLOUD[`${place} ${cloudKeys}`], local: why };
            const able = Object.keys(whys).filter((id) => whys[id] === null).join(' ');
            seen.add(able);
            for (const [index, chosen] of [undefined, 'chainabit', 'cloud', 'local'].entries()) {
              const state = { cloud, balance, cloudKeys, gateway };
              const told = fundingSources(structuredClone(state), chosen);
              const sources = Object.entries(whys).map(([id, why]) => ({ id, why }));
              assert.deepEqual(told, { sources, selected: SELECTED[able][index] }, JSON.stringify([state, chosen]));
              count += 1;
            }
          }
        }
      }
    }
    assert.deepEqual([count, seen.size], [320, 8]);
    // The rule in words: with no balance left, cloud keys; without those, local keys; without those, none.
    const choose = (balance, cloudKeys, keys) => fundingSources({ cloud: true, balance, cloudKeys, gateway: { isPaired: true, keys } }, 'chainabit').selected;
    assert.deepEqual([choose(1, 1, 1), choose(0, 1, 1), choose(0, 0, 1), choose(0, 0, 0)], ['chainabit', 'cloud', 'local', null]);
  },

  async 'the legacy store is deleted, and one call alone learns that a pointer is due'() {
    const context = await (await browser()).newContext();
    const web = await app();
    const tabs = await Promise.all([0, 1].map(() => visit(context, `http://localhost:${web.port}/`)));
    const forget = (tab) => tab.evaluate(async () => (await import('/client.js')).forgetLegacyStore());
    assert.deepEqual(await Promise.all(tabs.map(forget)), [false, false], 'there is none');
    // One tab still has it open, as a page of a former version would.
    await tabs[0].evaluate(() => new Promise((done) => {
      const request = indexedDB.open('lenserfight-local-keys', 3);
      request.onupgradeneeded = () => request.result.createObjectStore('keys').put('old', 'key');
      request.onsuccess = () => ((window.store = request.result), done());
    }));
    const told = Promise.all([forget(tabs[1]), forget(tabs[0]), forget(tabs[1])]);
    await tabs[0].evaluate(() => window.store.close());
    assert.deepEqual([...(await told)].sort(), [false, false, true], 'once, and only once');
    assert.equal(await forget(tabs[0]), false);
    assert.deepEqual(await tabs[0].evaluate(() => indexedDB.databases()), []);
    // A page that may not have any such store is not stopped by it.
    const none = await tabs[0].evaluate(async () => {
      Object.defineProperty(window, 'indexedDB', { get: () => { throw new DOMException('', 'SecurityError'); } });
      return (await import('/client.js')).forgetLegacyStore();
    });
    assert.equal(none, false);
  },
});
