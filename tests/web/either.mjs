// What the scripts share that run in both browsers: BROWSER=chromium, or firefox-esr by WebDriver BiDi.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import puppeteer from 'puppeteer-core';
import { FLAGS, fits, stands_out } from './stage.mjs';

/** Which browser, and a directory for pictures if a person wants to see them. */
export const { BROWSER, PICTURES } = process.env;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A browser that prefers one scheme. WebDriver BiDi cannot set it, so it is a preference of Firefox. */
export function launch(scheme) {
  const extraPrefsFirefox = { 'browser.shell.checkDefaultBrowser': false, 'layout.css.prefers-color-scheme.content-override': scheme === 'dark' ? 0 : 1 };
  const options = BROWSER === 'firefox-esr' ? { browser: 'firefox', extraPrefsFirefox } : { args: FLAGS };
  return puppeteer.launch({ executablePath: `/usr/bin/${BROWSER}`, headless: true, timeout: 120_000, protocolTimeout: 240_000, ...options });
}

/** A page with what a person does to it. */
export async function person(browser, url, scheme, viewport = { width: 320, height: 640 }) {
  const page = await browser.newPage();
  await page.setViewport(viewport);
  if (BROWSER === 'chromium') await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => ['error', 'warn'].includes(message.type()) && !message.text().startsWith('Failed to load') && page.complaints.push(message.text()));
  await page.goto(url);
  assert.equal(await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches), scheme === 'dark');
  // The page's policy forbids what puppeteer's own waitForFunction does.
  const until = async (test, ...args) => {
    const end = Date.now() + 60_000;
    while (!(await page.evaluate(test, ...args))) {
      assert.ok(Date.now() < end, `never: ${test} ${args}: ${await page.evaluate(() => `${document.activeElement.outerHTML}\n${document.body.innerText}`)}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  /** What has the focus: the text of its label, its id or its own text. */
  const focused = () => page.evaluate(() => {
    const it = document.activeElement;
    return it.type === 'radio' ? it.closest('label').querySelector('bdi').textContent : it.id || it.textContent.trim().slice(0, 40);
  });
  const says = (selector, text) => until((selector, text) => [...document.querySelectorAll(selector)].some((it) => it.checkVisibility() && it.textContent.includes(text)), selector, text);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const chord = async (modifier, key) => {
    await page.keyboard.down(modifier);
    await page.keyboard.press(key);
    await page.keyboard.up(modifier);
  };
  return {
    page, until, focused, says, press,
    type: (text) => page.keyboard.type(text),
    async overwrite(text) {
      await chord('Control', 'a');
      await page.keyboard.type(text);
    },
    /** Clicks on what a person sees: the middle of the first visible one with this text, and nothing may cover it. */
    async click(selector, text = '') {
      await says(selector, text);
      const place = await page.evaluate((selector, text) => {
        const it = [...document.querySelectorAll(selector)].find((it) => it.checkVisibility() && it.textContent.includes(text));
        it.scrollIntoView({ block: 'nearest' });
        const { left, top, width, height } = it.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        const there = document.elementFromPoint(x, y);
        return it.contains(there) && !it.disabled ? { x, y } : { covered: there?.outerHTML ?? 'off the screen' };
      }, selector, text);
      assert.ok(!place.covered, `${selector} ${text}: ${place.covered}`);
      await page.mouse.click(place.x, place.y);
    },
    /** Tabs on, or back, until something has the focus. */
    async reach(name, isBack) {
      const passed = [];
      while (passed.at(-1) !== name) {
        assert.ok(passed.length < 60, `${name} is not reached: ${passed}`);
        await (isBack ? chord('Shift', 'Tab') : press('Tab'));
        passed.push(await focused());
      }
      const isSeen = await page.evaluate(() => {
        const { top, bottom } = document.activeElement.getBoundingClientRect();
        return bottom > 0 && top < innerHeight;
      });
      assert.ok(isSeen, `${name} is on the screen`);
    },
    /** Nothing of a token is left in the page, and nothing was complained of. */
    async leaves() {
      assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);
      assert.deepEqual(page.complaints, []);
      await browser.close();
    },
    async look(state) {
      if (PICTURES) await page.screenshot({ path: `${PICTURES}/${BROWSER}-${scheme}-${viewport.width}-${state.replaceAll(' ', '-')}.png` });
      await fits(page);
      await stands_out(page);
      await page.evaluate(axe);
      const found = await page.evaluate(async () => (await axe.run(document)).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`));
      assert.deepEqual(found, [], state);
    },
    /** Is what was said on the screen, and not somewhere above it? */
    async near(selector) {
      const [top, bottom, height] = await page.evaluate((selector) => {
        const { top, bottom } = document.querySelector(selector).getBoundingClientRect();
        return [top, bottom, innerHeight];
      }, selector);
      assert.ok(top >= 0 && bottom <= height, `${selector}: ${top} to ${bottom} of ${height}`);
    },
  };
}
