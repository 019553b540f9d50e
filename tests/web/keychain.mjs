// What the page says when the master passphrase is missing, or its keychain is locked.

import assert from 'node:assert/strict';
import { VALUE, all, browser, gateway, home, leaves_nothing, lf, pair, says, start, visit } from './stage.mjs';

const own = home('keychain');
delete own.env.LENSERFIGHT_KEYS_PASSPHRASE;
own.env.DBUS_SESSION_BUS_ADDRESS = process.env.BUS;

await all({
  async 'no passphrase yet, and a keychain that locks'() {
    const token = await pair(own);
    const there = await gateway(own);
    const page = await visit(await (await browser()).newContext(), there.url);
    await page.fill('#token', token);
    await page.keyboard.press('Enter');
    await says(page, '#empty', 'no keys yet');
    await page.click('#bar [data-act=add]');
    await page.fill('#provider', 'openai');
    await page.fill('#value', VALUE);
    await page.click('#add .main');
    await says(page, '#add [role=alert]', 'lf keys init');
    assert.equal(await page.inputValue('#value'), VALUE, 'nothing is lost');
    await lf(own, 'keys init');
    await page.click('#add .main');
    await says(page, '#keys', 'openai');
    const lock = start('dbus-send', ['--session', '--print-reply', '--dest=org.freedesktop.secrets', '/org/freedesktop/secrets',
      'org.freedesktop.Secret.Service.Lock', 'array:objpath:/org/freedesktop/secrets/collection/login'], own.env);
    assert.equal(await lock.ended, 0);
    const show = page.getByRole('button', { name: 'Show', exact: true });
    await show.click();
    await says(page, '#actions', 'The keychain is locked');
    assert.equal(await page.locator('#actions [role=alert] button').isEnabled(), true, 'a way on');
    await leaves_nothing(page);
  },
});
