// A page on a public https origin: the browser asks its user, who takes a minute. Headless Chromium
// shows no prompt and denies, so this one has a screen, if only one in memory (Xvfb).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import { ROOM, VALUE, all, app, browser, drive, freePort, gateway, home, lf, pair, start, visit } from './stage.mjs';

const ORIGIN = 'https://lenserfight.com';
const own = home('prompt');
await lf(own, 'keys add --provider openai --label Prod', VALUE);
const [there, token] = [await gateway(own), await pair(own)];

const files = ['-keyout', `${ROOM}/key.pem`, '-out', `${ROOM}/certificate.pem`];
const made = start('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=lenserfight.com', ...files]);
assert.equal(await made.ended, 0);
const tls = { key: fs.readFileSync(`${ROOM}/key.pem`), cert: fs.readFileSync(`${ROOM}/certificate.pem`) };
const web = await app({ make: (answer) => https.createServer(tls, answer) });

// It is at 127.0.0.1, and the browser takes it for public.
const flags = [
  `--host-resolver-rules=MAP lenserfight.com:443 127.0.0.1:${web.port}`,
  `--ip-address-space-overrides=127.0.0.1:${web.port}=public`,
  '--ignore-certificate-errors',
];

async function open(chromium) {
  const page = await visit(await chromium.newContext({ ignoreHTTPSErrors: true }), ORIGIN);
  await page.evaluate((url) => sessionStorage.setItem('lf-gateway-url', url), there.url);
  const session = await chromium.newBrowserCDPSession();
  const { targetInfos } = await session.send('Target.getTargets');
  const { browserContextId } = targetInfos.find(({ url }) => url.startsWith(ORIGIN));
  page.set = (setting) =>
    session.send('Browser.setPermission', { permission: { name: 'loopback-network' }, setting, origin: ORIGIN, browserContextId });
  page.state = () => page.evaluate(async () => (await navigator.permissions.query({ name: 'loopback-network' })).state);
  return page;
}

const listed = () => fs.readFileSync(`${own.path}/.lenserfight/keys/audit.log`, 'utf8').split('\n').filter((line) => line.includes(ORIGIN)).length;

await all({
  async 'a prompt that stays open for a minute'() {
    const screen = start('Xvfb', ['-displayfd', '1', '-screen', '0', '1280x900x24', '-nolisten', 'tcp']);
    const display = await new Promise((done) => screen.stdout.on('data', (data) => done(String(data).trim())));
    const chromium = await browser([...flags, '--ozone-platform=x11'], { headless: false, env: { ...process.env, DISPLAY: `:${display}` } });
    const page = await open(chromium);
    const begin = Date.now();
    let told;
    const pairing = drive(page, [['pair', token], ['list']]).then((it) => (told = it));
    await page.waitForTimeout(61_000);
    assert.deepEqual([told, await page.state(), listed()], [undefined, 'prompt', 0], 'it waits, and nothing has gone out');
    await page.set('granted');
    await pairing;
    assert.deepEqual(told.map((keys) => keys[0]?.label ?? keys), ['Prod', 'Prod'], 'and then it comes through');
    assert.equal(listed(), 1, 'lists of one pairing are one line a minute');
    console.log(`  the prompt was open for ${((Date.now() - begin) / 1000).toFixed(0)} s`);
    await chromium.close();
  },

  async 'denied, down and granted are told apart'() {
    const chromium = await browser(flags);
    const page = await open(chromium);
    assert.deepEqual(await drive(page, [['pair', token], ['health']]), ['permission_denied', 'permission_denied']);
    await page.set('granted');
    const gone = await gateway(home('gone'), await freePort());
    await gone.stop();
    await page.evaluate((url) => sessionStorage.setItem('lf-gateway-url', url), gone.url);
    assert.deepEqual(await drive(page, [['pair', token]]), ['gateway_unreachable']);
    await page.evaluate((url) => sessionStorage.setItem('lf-gateway-url', url), there.url);
    await page.set('denied');
    assert.deepEqual(await drive(page, [['health']]), ['permission_denied']);
    await page.set('granted');
    assert.equal((await drive(page, [['health']]))[0].status, 'ok');
    // Without an address of the session's own an https page asks loopback: plain HTTP goes nowhere else.
    await page.evaluate(() => sessionStorage.clear());
    await page.route((url) => url.port === '38080', (route) => route.abort());
    page.asked.length = 0;
    await drive(page, [['health']]);
    assert.ok(page.asked.includes('GET http://127.0.0.1:38080/healthz'), String(page.asked));
  },
});
