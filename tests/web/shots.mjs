// Pictures of every state for a person to look at, light and dark, narrow and wide: shots.mjs DIRECTORY

import { VALUE, browser, freePort, gateway, home, lf, pair, says, serve, visit } from './stage.mjs';

const [directory] = process.argv.slice(2);
const chromium = await browser([`--host-resolver-rules=MAP localhost:11434 127.0.0.1:${await freePort()}`]);

for (const [scheme, width] of ['light', 'dark'].flatMap((scheme) => [[scheme, 320], [scheme, 1280]])) {
  const own = home(`${scheme}${width}`);
  const token = await pair(own);
  let there = await gateway(own);
  const context = await chromium.newContext({ colorScheme: scheme, viewport: { width, height: 720 }, reducedMotion: 'reduce' });
  const page = await visit(context, there.url);
  const shot = (name) => page.screenshot({ path: `${directory}/${name}-${scheme}-${width}.png`, fullPage: true });
  const tile = (name) => page.locator('.tiles button', { hasText: name }).click();
  const act = (name) => page.locator('#actions').getByRole('button', { name, exact: true }).click();
  await shot('01-start');
  await page.evaluate(() => new Promise((done) => (indexedDB.open('lenserfight-local-keys').onsuccess = (event) => done(event.target.result.close()))));
  await page.reload();
  await says(page, '#legacy', 'deleted');
  await shot('02-legacy');
  await page.reload();
  await tile('Chainabit');
  await shot('03-chainabit');
  await tile('LF Cloud');
  await shot('04-cloud');
  await tile('Ollama');
  await says(page, '#models', 'No Ollama');
  await shot('05-ollama');
  await tile('Local Keys');
  await shot('06-not-paired');
  await page.fill('#token', 'short');
  await page.keyboard.press('Enter');
  await says(page, '#notice', 'not a pairing');
  await shot('07-invalid-token');
  await page.fill('#token', 'A'.repeat(43));
  await page.keyboard.press('Enter');
  await says(page, '#notice', 'does not know');
  await shot('08-unknown-token');
  await page.fill('#token', token);
  await page.keyboard.press('Enter');
  await says(page, '#empty', 'no keys yet');
  await shot('09-empty');
  await page.fill('#provider', 'openai');
  await page.fill('#value', VALUE);
  await page.fill('#label', 'x'.repeat(65));
  await page.click('#add button');
  await says(page, '#add', 'cannot be');
  await shot('10-add');
  await page.fill('#label', 'Prod');
  await page.click('#add button');
  await says(page, '#status', 'Added');
  for (const [provider, label] of [['mistral', 'مفتاح الإنتاج'], ['anthropic', '<img src=x onerror=alert(1)>'], ['gemini', 'A-label-of-sixty-four-characters-without-any-place-to-break-it64']]) {
    await lf(own, ['keys', 'add', '--provider', provider, '--label', label], VALUE);
  }
  await page.click('#refresh');
  await says(page, '#keys', 'A-label');
  await shot('11-picked');
  await act('Show value');
  await says(page, '#plain', VALUE);
  await shot('12-shown');
  await page.click('#hide');
  await act('Rename…');
  await shot('13-rename');
  await page.keyboard.press('Escape');
  await act('Replace value…');
  await shot('14-replace');
  await page.keyboard.press('Escape');
  await act('Remove…');
  await shot('15-remove');
  await page.keyboard.press('Escape');
  while (!(await page.locator('#actions [role=alert]').isVisible())) {
    await act('Show value');
    await page.locator('#shown:visible, #actions [role=alert]:visible').first().waitFor();
    if (await page.locator('#hide').isVisible()) await page.click('#hide');
  }
  await shot('16-rate-limited');
  await there.stop();
  await page.click('#refresh');
  await says(page, '#notice', 'does not answer');
  await shot('17-down');
  for (const [name, status, code] of [['18-passphrase-missing', 503, 'passphrase_missing'], ['19-keychain-locked', 503, 'keychain_unavailable'], ['20-does-not-open', 422, 'decryption_failed'], ['21-forbidden', 403, 'forbidden_origin'], ['22-garbage', 500, '?']]) {
    const odd = await serve((_, response) => response.writeHead(status).end(JSON.stringify({ error: code })), { port: there.port });
    await act('Rotate');
    await page.locator('#actions [role=alert]').waitFor();
    await shot(name);
    await odd.stop();
  }
  there = await gateway(own, there.port);
  await lf(own, 'gateway unpair --all');
  await page.click('#refresh');
  await says(page, '#notice', 'no longer paired');
  await shot('23-revoked');

  await context.close();
  await there.stop();
}
process.exit();
