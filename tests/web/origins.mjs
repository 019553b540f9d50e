// Pages from elsewhere: those of allowed origins use the client, and nobody else gets anything.

import assert from 'node:assert/strict';
import { VALUE, all, app, browser, drive, gateway, home, leaves_nothing, lf, pair, visit } from './stage.mjs';

const chromium = await browser(['--host-resolver-rules=MAP *.test 127.0.0.1']);
const own = home('origins');
const id = await lf(own, 'keys add --provider openai --label Prod', VALUE);
const [there, token, web] = [await gateway(own), await pair(own), await app()];
const OVERRIDE = 'lf-gateway-url';

async function at(url, override) {
  const page = await visit(await chromium.newContext(), url);
  if (override) await page.evaluate(([name, url]) => sessionStorage.setItem(name, url), [OVERRIDE, override]);
  page.asked.length = 0;
  return page;
}

await all({
  async 'a page on localhost imports the client from the gateway and uses all of it'() {
    const page = await at(`http://localhost:${web.port}/`, there.url);
    const client = `${there.url}/client.js`;
    const [paired, [first], health, me] = await drive(page, [['pair', ` ${token}\n`], ['list'], ['health'], ['whoami']], client);
    assert.deepEqual([paired[0].label, first.id, health.status, me.name, me.allow.length], ['Prod', id, 'ok', 'web-pair', 6]);
    const [added] = await drive(page, [['add', { provider: 'openai', label: 'New', rawKey: 'v1' }]], client);
    const told = await drive(page, [['update', added.id, { rawKey: 'v2' }], ['rotate', added.id], ['resolve', added.id], ['remove', added.id], ['resolve', added.id]], client);
    assert.deepEqual([told[1].label, ...told.slice(2)], ['New', 'v2', null, 'key_not_found']);
    assert.deepEqual(await drive(page, [['forget'], ['isPaired'], ['list'], ['pair', 'short'], ['pair', 'A'.repeat(43)]], client), [null, false, 'gateway_not_paired', 'invalid_token', 'gateway_not_paired']);
    await page.evaluate((name) => sessionStorage.removeItem(name), OVERRIDE);
    await leaves_nothing(page);
  },

  async 'too many values at once is told with the seconds to wait'() {
    const page = await at(`http://localhost:${web.port}/`, there.url);
    const other = await pair(own, '--name other');
    const wait = await page.evaluate(async ([token, id]) => {
      const lf = await import('/client.js');
      await lf.pair(token);
      const all = await Promise.allSettled(Array.from({ length: 12 }, () => lf.resolve(id)));
      return all.find(({ reason }) => reason?.code === 'gateway_rate_limited')?.reason.retryAfter;
    }, [other, id]);
    assert.ok(wait >= 1 && wait <= 12, String(wait));
  },

  async 'the gateway is where the session says, if that is safe, and never where a link says'() {
    const link = `?${OVERRIDE}=http://evil.test:1&url=http://evil.test:2#${OVERRIDE}=http://evil.test:3`;
    for (const [page, override, expected] of [
      ['localhost', null, 'http://127.0.0.1:38080'],
      ['localhost', 'http://localhost:4', 'http://127.0.0.1:4'],
      ['localhost', 'https://localhost:4', 'https://localhost:4'],
      ['127.0.0.1', null, 'http://127.0.0.1:38080'],
      ['evil.test', null, 'http://evil.test:38080'],
      ['localhost', 'http://evil.test:4', 'http://127.0.0.1:38080'],
      ['localhost', 'http://192.168.1.1:38080', 'http://127.0.0.1:38080'],
      ['localhost', 'http://localhost.evil.test:4', 'http://127.0.0.1:38080'],
      ['localhost', 'http://localhost@evil.test:4', 'http://127.0.0.1:38080'],
      ['localhost', 'javascript:alert(1)', 'http://127.0.0.1:38080'],
      ['localhost', 'no URL', 'http://127.0.0.1:38080'],
      ['localhost', 'https://gateway.test:5/path?query', 'https://gateway.test:5'],
      ['localhost', 'http://[::1]:6', 'http://[::1]:6'],
    ]) {
      const tab = await at(`http://${page}:${web.port}/${link}`, override);
      await tab.route((url) => url.pathname === '/healthz', (route) => route.abort());
      await drive(tab, [['health']]);
      assert.deepEqual(tab.asked.filter((asked) => !asked.endsWith('.js')), [`GET ${expected}/healthz`], override);
      await tab.context().close();
    }
  },

  async 'a page of any other name gets nothing'() {
    const page = await at(`http://evil.test:${web.port}/`);
    // Its client would not even ask there; so it takes what a thief would.
    const told = await page.evaluate(async ([url, token, id]) => {
      const attempt = async (path, options) => {
        try {
          const response = await fetch(url + path, options);
          return `${response.type} ${response.status} ${await response.text()}`;
        } catch (error) {
          return error.name;
        }
      };
      const headers = { authorization: `Bearer ${token}` };
      const script = (extra) => new Promise((done) => {
        const element = Object.assign(document.createElement('script'), { src: `${url}/client.js`, ...extra });
        element.onload = () => done('loaded');
        element.onerror = () => done('refused');
        document.head.append(element);
      });
      return [
        await attempt('/healthz'),
        await attempt('/client.js'),
        await attempt('/keys', { headers }),
        await attempt(`/keys/${id}/resolve`, { method: 'POST', headers }),
        await attempt('/healthz', { mode: 'no-cors' }),
        await attempt('/keys', { mode: 'no-cors', headers }),
        await attempt(`/keys/${id}/resolve`, { method: 'POST', mode: 'no-cors' }),
        await script({}),
        await script({ type: 'module' }),
      ];
    }, [there.url, token, id]);
    assert.deepEqual(told, [...Array(7).fill('TypeError'), 'refused', 'refused']);
    const code = await page.evaluate(async ([url, token]) => {
      const lf = await import('/client.js');
      lf.at(url);
      return lf.pair(token).catch((error) => error.code);
    }, [there.url, token]);
    assert.equal(code, 'gateway_forbidden');
    // A name that points here is not this gateway's (DNS rebinding).
    const rebound = await page.goto(`http://evil.test:${there.port}/`);
    assert.deepEqual([rebound.status(), await rebound.text()], [421, '{"error":"misdirected_request"}']);
  },

  async 'a no-cors fetch gets nothing from a page of an allowed name either'() {
    const page = await at(`http://localhost:${web.port}/`);
    const told = await page.evaluate(
      (url) => Promise.all(['/healthz', '/keys', '/client.js', '/'].map((path) => fetch(url + path, { mode: 'no-cors' }).then(({ type }) => type, ({ name }) => name))),
      there.url,
    );
    assert.deepEqual(told, Array(4).fill('TypeError'));
  },

  async 'a sandboxed frame gets nothing, and the page itself is in no frame'() {
    const page = await at(`http://localhost:${web.port}/`);
    const told = await page.evaluate(([url, token]) => new Promise((done) => {
      addEventListener('message', ({ data }) => done(data));
      const frame = Object.assign(document.createElement('iframe'), { sandbox: 'allow-scripts' });
      frame.srcdoc = `<script>fetch('${url}/keys', { headers: { authorization: 'Bearer ${token}' } })
        .then((it) => it.text(), (error) => origin + ' ' + error.name).then((it) => parent.postMessage(it, '*'))</script>`;
      document.body.append(frame);
    }), [there.url, token]);
    assert.equal(told, 'null TypeError');
    await page.evaluate((url) => new Promise((done) => {
      const frame = Object.assign(document.createElement('iframe'), { src: `${url}/`, onload: done });
      document.body.append(frame);
    }), there.url);
    assert.ok(page.complaints.some((text) => text.includes('frame-ancestors')), String(page.complaints));
    assert.ok(!page.asked.some((asked) => asked.endsWith('/page.js')), 'nothing of it runs');
  },

  async 'a form gets nothing and changes nothing'() {
    const alone = home('form');
    const id = await lf(alone, 'keys add --provider openai --label Prod', VALUE);
    const there = await gateway(alone);
    const before = await lf(alone, 'keys list --json');
    for (const name of ['evil.test', 'localhost']) {
      for (const [path, enctype] of [['/keys', 'text/plain'], [`/keys/${id}/resolve`, 'application/x-www-form-urlencoded'], [`/keys/${id}/rotate`, 'multipart/form-data']]) {
        const page = await at(`http://${name}:${web.port}/`);
        const [response] = await Promise.all([
          page.waitForNavigation(),
          page.evaluate(([action, enctype]) => {
            const form = Object.assign(document.createElement('form'), { action, enctype, method: 'POST' });
            const field = Object.assign(document.createElement('input'), { name: '{"provider":"openai","label":"x","rawKey":"', value: '"}' });
            form.append(field);
            document.body.append(form);
            form.submit();
          }, [there.url + path, enctype]),
        ]);
        assert.equal(response.status(), 403, `${name} ${path}`);
        await page.context().close();
      }
    }
    assert.equal(await lf(alone, 'keys list --json'), before);
  },
});
