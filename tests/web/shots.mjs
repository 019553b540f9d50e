// Pictures of every state for a person to look at, light and dark, narrow and wide: shots.mjs DIRECTORY [SCHEME WIDTH]

import { VALUE, browser, freePort, gateway, home, lf, pair, says, serve, visit } from './stage.mjs';

const [directory, ...only] = process.argv.slice(2);
const chromium = await browser([`--host-resolver-rules=MAP localhost:11434 127.0.0.1:${await freePort()}`]);
const screens = ['light', 'dark'].flatMap((scheme) => [[scheme, 390, 844], [scheme, 1280, 800]]);

for (const [scheme, width, height] of screens.filter(([scheme, width]) => !only.length || (scheme === only[0] && width === Number(only[1])))) {
  const own = home(`${scheme}${width}`);
  const token = await pair(own);
  let there = await gateway(own, await freePort());
  const context = await chromium.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: 'reduce' });
  const page = await visit(context, there.url);
  const shot = (name, fullPage = false) => page.screenshot({ path: `${directory}/${name}-${scheme}-${width}.png`, fullPage });
  const act = (name) => page.locator('#actions').getByRole('button', { name, exact: true }).click();
  const opened = (name) => page.locator(`#${name}`).waitFor();
  await shot('01-start');
  await page.evaluate(() => new Promise((done) => (indexedDB.open('lenserfight-local-keys').onsuccess = (event) => done(event.target.result.close()))));
  await page.reload();
  await says(page, '#legacy', 'deleted');
  await shot('02-legacy');
  await page.reload();
  await page.click('#ask-ollama');
  await says(page, '#ollama .told', 'No Ollama');
  await shot('03-ollama', true);
  await page.fill('#token', 'short');
  await page.keyboard.press('Enter');
  await says(page, '#token-bad', 'not a pairing');
  await shot('04-invalid-token');
  await page.fill('#token', 'A'.repeat(43));
  await page.keyboard.press('Enter');
  await says(page, '#token-bad', 'does not know');
  await shot('05-unknown-token');
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await says(page, '#empty', 'no keys yet');
  await shot('06-empty');
  await page.click('#bar [data-act=add]');
  await page.fill('#provider', 'Ollama');
  await shot('07-add');
  await page.fill('#provider', 'Open AI');
  await page.fill('#value', VALUE);
  await page.click('#add .main');
  await says(page, '#provider-bad', 'not a provider');
  await shot('08-add-wrong');
  await page.fill('#provider', 'openai');
  await page.fill('#label', 'Prod');
  await page.click('#add .main');
  await says(page, '#actions .told', 'Added');
  await shot('09-added');
  for (const [provider, label, ...more] of [['mistral', 'مفتاح الإنتاج'], ['anthropic', '<img src=x onerror=alert(1)>', '--expires', '3d'], ['google', 'A-label-of-sixty-four-characters-without-any-place-to-break-it64', '--expires', '300d']]) {
    await lf(own, ['keys', 'add', '--provider', provider, '--label', label, ...more], VALUE);
  }
  await page.click('#refresh');
  await says(page, '#keys', 'A-label');
  await shot('10-four');
  await page.locator('summary').click();
  await page.locator('#keys li', { hasText: 'Prod' }).hover();
  await shot('11-more', true);
  await act('Show');
  await says(page, '#plain', VALUE);
  await shot('12-shown');
  await act('Edit…');
  await opened('edit');
  await shot('13-edit');
  await page.keyboard.press('Escape');
  await act('Remove…');
  await opened('remove');
  await shot('14-remove');
  await page.keyboard.press('Escape');
  for (let number = 5; number <= 13; number += 1) await lf(own, `keys add --provider openai --label key-${number}`, VALUE);
  await page.click('#refresh');
  await says(page, '#keys', 'key-13');
  await shot('15-thirteen');
  await page.fill('#filter', 'nothing');
  await says(page, '#empty', 'No key');
  await shot('16-no-match');
  await page.fill('#filter', 'prod');
  await page.locator('#keys label').click();
  const headers = { authorization: `Bearer ${token}` };
  while (!(await page.locator('#actions [role=alert]').isVisible())) {
    while ((await fetch(`${there.url}/keys/${'a'.repeat(24)}/resolve`, { method: 'POST', headers })).status !== 429);
    await act('Show');
    await page.locator('#shown:visible, #actions [role=alert]:visible').first().waitFor();
    if (await page.locator('#hide').isVisible()) await page.click('#hide');
  }
  await shot('17-rate-limited');
  await page.fill('#filter', '');
  await there.stop();
  const silent = await serve(() => {}, { port: there.port });
  await page.click('#refresh');
  await says(page, '#bar', 'Asking the gateway');
  await shot('18-waiting');
  await silent.stop();
  await says(page, '#bar', 'does not answer');
  await shot('19-down');
  for (const [name, status, code] of [['20-passphrase-missing', 503, 'passphrase_missing'], ['21-keychain-locked', 503, 'keychain_unavailable'], ['22-does-not-open', 422, 'decryption_failed'], ['23-forbidden', 403, 'forbidden_origin'], ['24-garbage', 500, '?']]) {
    const odd = await serve((_, response) => response.writeHead(status).end(JSON.stringify({ error: code })), { port: there.port });
    await act('Show');
    await page.locator('#actions [role=alert]').waitFor();
    await shot(name);
    await odd.stop();
  }
  there = await gateway(own, there.port);
  const many = Array.from({ length: 200 }, (_, number) => ({ id: `${number}`.padStart(24, 'k'), provider: 'openai', label: `key-${number}`, createdAt: new Date(Date.now() - number * 8e7).toISOString(), lastUsedAt: null }));
  await page.route('**/keys?*', (route) => route.fulfill({ json: { keys: [...many].reverse() } }));
  await page.click('#refresh');
  await says(page, '#bar', 'Up to date');
  await page.locator('#keys label').nth(100).click();
  await page.click('#actions .danger');
  await page.keyboard.press('Escape');
  await shot('25-two-hundred');
  await page.unroute('**/keys?*');
  await lf(own, 'gateway unpair --all');
  await page.click('#refresh');
  await says(page, '#pair', 'no longer paired');
  await shot('26-revoked');
  await page.fill('#token', await pair(own, `--name reader --allow list,resolve`));
  await page.keyboard.press('Enter');
  await says(page, '#who', 'reader');
  await page.locator('#keys label').first().click();
  await shot('27-few-rights');
  await context.close();
  await there.stop();
}
process.exit();
