// What the page costs: bytes, milliseconds until a person can use it, requests before the first act.

import { browser, gateway, home, visit } from './stage.mjs';

const there = await gateway(home('figures'));
const chromium = await browser();
const times = [];
let [asked, bytes] = [[], 0];
for (let run = 0; run < 5; run += 1) {
  const page = await visit(await chromium.newContext());
  const sizes = [];
  page.on('response', (response) => sizes.push(response.body().then((body) => body.length)));
  await page.goto(there.url);
  // The last statement of page.js has run: every button does what it says.
  await page.waitForFunction(() => document.getElementById('where').textContent);
  times.push(await page.evaluate(() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd));
  asked = page.asked;
  bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
console.log(`files ${asked.length}, bytes ${bytes}`);
console.log(`usable after ${times.sort((a, b) => a - b)[2].toFixed(0)} ms (median of 5)`);
console.log(`requests before the first act, the page's own files apart: ${asked.length - 4}`);
process.exit();
