// What every script needs: lf's commands, gateways, a browser, and an eye on each page.

import { spawn } from 'node:child_process';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { resolve } from 'node:path';
import { chromium } from 'playwright-core';

/** The binary, a directory that is this run's own, and the client's file. */
export const { LF, ROOM, CLIENT } = process.env;
export const PASSPHRASE = 'correct horse battery staple';
export const VALUE = 'sk-test-0123456789abcdefghij';
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
setTimeout(() => {
  console.error('hangs');
  process.exit(1);
}, 600_000).unref();

/** A home of its own for one store. */
export function home(name) {
  const path = resolve(ROOM, name);
  fs.mkdirSync(path, { recursive: true });
  return { path, env: { HOME: path, PATH: process.env.PATH, LENSERFIGHT_KEYS_PASSPHRASE: PASSPHRASE } };
}

/** Starts a program that ends with this one. */
export function start(program, args, env = process.env) {
  const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  child.ended = new Promise((done) => child.on('close', (status) => (children.delete(child), done(status))));
  return child;
}

/** Runs `lf` to its end and returns what it prints. */
export async function lf(home, args, input = '') {
  const child = start(LF, Array.isArray(args) ? args : args.split(' '), home.env);
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  child.stdin.on('error', () => {}); // it is free to leave its input unread
  child.stdin.end(input);
  assert.equal(await child.ended, 0, `lf ${args}: ${err}`);
  return out.trimEnd();
}

/** `args` is a text, or a list if one has spaces. */
export const pair = async (home, args = []) => JSON.parse(await lf(home, ['gateway', 'pair', '--json', ...(Array.isArray(args) ? args : args.split(' '))])).token;

/** Serves a home's keys, on a free port or a given one. */
export async function gateway(home, port = 0) {
  const child = start(LF, ['gateway', 'serve', '--keys-only', '--port', String(port)], home.env);
  const line = await new Promise((done) => {
    let text = '';
    child.stdout.on('data', (data) => (text += data).includes('\n') && done(text));
    child.stderr.on('data', (data) => (text += data));
    child.ended.then(() => done(text));
  });
  const url = /^listening on (\S+)$/m.exec(line)?.[1];
  assert.ok(url, `no gateway: ${line}`);
  const stop = async () => {
    child.kill('SIGTERM');
    assert.equal(await child.ended, 0);
  };
  return { url, port: Number(new URL(url).port), stop };
}

/** A server of our own, on a free port or a given one. */
export async function serve(answer, { port = 0, make = (answer) => http.createServer(answer) } = {}) {
  const server = make(answer);
  await new Promise((done, failed) => server.on('error', failed).listen(port, '127.0.0.1', done));
  const stop = () => new Promise((done) => (server.close(done), server.closeAllConnections?.()));
  return { port: server.address().port, stop };
}

/** A web server of two pages: an empty one, and the client as an app would take it over. */
export const app = (options) =>
  serve((request, response) => {
    const isClient = request.url.startsWith('/client.js');
    response.writeHead(200, { 'content-type': isClient ? 'text/javascript' : 'text/html' });
    response.end(isClient ? fs.readFileSync(CLIENT) : '<!doctype html><title>app</title><link rel="icon" href="data:,">');
  }, options);

/** Runs functions of a page's client, in order, and tells what became of each. */
export const drive = (page, steps, client = '/client.js') =>
  page.evaluate(async ([client, steps]) => {
    const lf = await import(client);
    const told = [];
    for (const [name, ...args] of steps) {
      try {
        told.push((await lf[name](...args)) ?? null);
      } catch (error) {
        told.push(error instanceof lf.GatewayError ? error.code : String(error));
      }
    }
    return told;
  }, [client, steps]);

let next = 20_000 + (process.pid % 400) * 30;

/** A port that nobody has, below those that the system gives to whoever asks for any: it stays free until it is wanted. */
export async function freePort() {
  for (;;) {
    const port = next++;
    const server = await serve(() => {}, { port }).catch(() => null);
    if (server) return server.stop().then(() => port);
  }
}

export const FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

const browsers = [];

export async function browser(flags = [], options = {}) {
  const launched = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [...FLAGS, ...flags], timeout: 60_000, ...options });
  browsers.push(launched);
  return launched;
}

/** A page that is watched: its requests, and everything that its console complains of. */
export async function visit(context, url) {
  const page = await context.newPage();
  page.asked = [];
  page.complaints = [];
  page.setDefaultTimeout(60_000);
  page.on('request', (request) => page.asked.push(`${request.method()} ${request.url()}`));
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    // The browser itself notes every answer from 400 on, and every connection that fails.
    const isItsOwn = message.text().startsWith('Failed to load resource:');
    if (['error', 'warning'].includes(message.type()) && !isItsOwn) page.complaints.push(message.text());
  });
  if (url) await page.goto(url);
  return page;
}

/** Waits until the page shows this text in an element. */
export async function says(page, selector, text) {
  await page.locator(selector).filter({ hasText: text, visible: true }).first().waitFor();
}

/** Is a value anywhere in the document: text, attributes or fields? */
export const holds = (page, value) =>
  page.evaluate((value) => {
    const fields = [...document.querySelectorAll('input, textarea')].map((field) => field.value);
    return [document.documentElement.outerHTML, ...fields].some((text) => text.includes(value));
  }, value);

/** Everything is within the page's width. */
export async function fits(page) {
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= width, `${content} px in ${width}`);
}

/** Every visible text stands out from what is behind it by 4.5 (WCAG 2.2, 1.4.3). */
export async function stands_out(page) {
  const faint = await page.evaluate(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => {
      const [r, g, b] = rgba(colour).map((part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
      for (; element; element = element.parentElement) {
        const { backgroundColor } = getComputedStyle(element);
        if (rgba(backgroundColor)[3] === 255) return backgroundColor;
      }
      return 'white';
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    while (texts.nextNode()) {
      const element = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || !element.checkVisibility() || element.closest(':disabled, noscript')) continue;
      const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.trim()}`);
    }
    return faint;
  });
  assert.deepEqual(faint, []);
}

/** Nothing was kept but the token, and nobody complained. */
export async function leaves_nothing(page) {
  const kept = await page.evaluate(async () => ({
    local: Object.keys(localStorage),
    session: Object.keys(sessionStorage).filter((name) => name !== 'lf-gateway-bearer'),
    databases: (await indexedDB.databases()).map(({ name }) => name),
    caches: await caches.keys(),
    cookies: document.cookie,
  }));
  assert.deepEqual(kept, { local: [], session: [], databases: [], caches: [], cookies: '' });
  assert.deepEqual(await page.context().cookies(), []);
  assert.deepEqual(page.complaints, []);
}

/** Runs what belongs together at once, and names what failed. Then it closes all browsers, and these others. */
export async function all(tests, ...others) {
  const results = await Promise.allSettled(
    Object.entries(tests).map(async ([name, test]) => {
      const begin = Date.now();
      try {
        await test();
        console.log(`${name}: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
      } catch (error) {
        console.error(`${name} failed: ${error.stack}`);
        throw error;
      }
    }),
  );
  await Promise.allSettled([...browsers, ...others].map((it) => it.close()));
  process.exit(results.some(({ status }) => status === 'rejected') ? 1 : 0);
}
