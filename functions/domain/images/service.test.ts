import { describe, expect, it } from 'vitest';

import { connectedHost, type FakeHost } from '../../../test/fake-host.ts';
import { goodImage, hashOf, importImage } from '../../../test/images.ts';
import { openWorld } from '../../../test/world.ts';

describe('an image', () => {
  it('is named by an alias, a fingerprint, or the beginning of one', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    await importImage(world, bytes, { aliases: [{ name: 'bb/1' }] });
    const host = await connectedHost(world, 'foo');
    const prefix = hashOf(bytes).slice(0, 6);
    for (const source of [
      { alias: 'bb/1' },
      { fingerprint: hashOf(bytes) },
      { fingerprint: prefix.toUpperCase() },
      { alias: prefix },
    ]) {
      const body = { source: { type: 'image', ...source } };
      expect((await world.api('POST', '/1.0/instances', body)).status).toBe(202);
    }
    expect(host.commands()).toHaveLength(4);
    const [first] = host.commands();
    expect(first?.cmd).toMatchObject({ instance: { image: { fingerprint: hashOf(bytes), size: bytes.length } } });
    expect(first?.cmd).toMatchObject({
      instance: { config: { 'image.os': 'Busybox', 'volatile.base_image': hashOf(bytes) } },
    });
  });

  it('is not guessed from a beginning that two have', async () => {
    await using world = await openWorld();
    const byDigit = new Map<string, number>();
    let salt = 0;
    for (; ; salt++) {
      const digit = hashOf(goodImage(String(salt))).slice(0, 1);
      const other = byDigit.get(digit);
      byDigit.set(digit, salt);
      if (other === undefined) continue;
      await importImage(world, goodImage(String(other)));
      await importImage(world, goodImage(String(salt)));
      expect(await world.api('GET', `/1.0/images/${digit}`)).toMatchObject({
        status: 409,
        error: expect.stringContaining('more digits'),
      });
      break;
    }
  });

  it('is deleted with all its aliases and bytes, be they many', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    await importImage(world, bytes);
    for (let at = 0; at < 45; at++) {
      const alias = { name: `a${at}`, target: hashOf(bytes) };
      expect((await world.api('POST', '/1.0/images/aliases', alias)).status).toBe(201);
    }
    expect((await world.api('DELETE', `/1.0/images/${hashOf(bytes)}`)).status).toBe(202);
    expect((await world.api('GET', '/1.0/images/aliases')).metadata).toEqual([]);
    expect(await world.ports.objects.list('')).toEqual([]);
    expect((await world.api('DELETE', `/1.0/images/${hashOf(bytes)}`)).status).toBe(404);
  });

  it('deleted twice at once is deleted once', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    await importImage(world, bytes);
    const answers = await Promise.all([1, 2].map(() => world.api('DELETE', `/1.0/images/${hashOf(bytes)}`)));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 404]);
  });
});

describe('an alias', () => {
  it('may have slashes, be described, pointed elsewhere, renamed and deleted', async () => {
    await using world = await openWorld();
    const [one, two] = [goodImage('1'), goodImage('2')];
    await importImage(world, one);
    await importImage(world, two);
    const path = '/1.0/images/aliases/ubuntu%2F24.04';
    const made = await world.api('POST', '/1.0/images/aliases', { name: 'ubuntu/24.04', target: hashOf(one) });
    expect(made).toMatchObject({ status: 201, headers: { location: path } });
    expect((await world.api('PATCH', path, { description: 'noble' })).status).toBe(200);
    expect((await world.api('PUT', path, { target: hashOf(two), description: 'n' })).status).toBe(200);
    expect((await world.api('GET', path)).metadata).toMatchObject({
      name: 'ubuntu/24.04',
      target: hashOf(two),
      description: 'n',
    });
    expect((await world.api('POST', path, { name: 'noble' })).status).toBe(201);
    expect((await world.api('GET', path)).status).toBe(404);
    expect((await world.api('DELETE', '/1.0/images/aliases/noble')).status).toBe(200);
    expect((await world.api('GET', '/1.0/images')).metadata).toHaveLength(2);
  });

  it('is not made twice, nor for an image there is not', async () => {
    await using world = await openWorld();
    await importImage(world, goodImage(), { aliases: [{ name: 'bb' }] });
    const target = hashOf(goodImage());
    expect((await world.api('POST', '/1.0/images/aliases', { name: 'bb', target })).status).toBe(409);
    expect((await world.api('POST', '/1.0/images/aliases', { name: 'x', target: 'a'.repeat(64) })).status).toBe(404);
    await world.api('POST', '/1.0/images/aliases', { name: 'other', target });
    expect((await world.api('POST', '/1.0/images/aliases/other', { name: 'bb' })).status).toBe(409);
  });
});

describe('the URLs of an image', () => {
  async function ask(host: FakeHost, command: string, fingerprint: string, from = 0) {
    await host.send({ t: 'ask', id: 'q', command, fingerprint, from });
    const answer = host.inbox.at(-1);
    if (answer?.t !== 'answer') throw new Error('not answered');
    return answer;
  }

  it('are given, some at a time, to the host that makes an instance of it', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    await importImage(world, bytes, {}, { part: 20 });
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/instances', { source: { type: 'image', fingerprint: hashOf(bytes) } });
    const [command] = host.pending();
    const count = Math.ceil(bytes.length / 20);
    const first = await ask(host, command!.id, hashOf(bytes));
    expect(first).toMatchObject({ total: count });
    const second = await ask(host, command!.id, hashOf(bytes), first.parts?.length);
    expect([first.parts?.length, second.parts?.[0]?.url]).not.toContain(first.parts?.[0]?.url);
    expect(first.parts?.[0]).toMatchObject({ length: 20, url: expect.stringMatching(/^https:\/\/fairlead\.example/) });
  });

  it('are refused for another image, to another host, and once the command is done', async () => {
    await using world = await openWorld();
    const [one, two] = [goodImage('1'), goodImage('2')];
    await importImage(world, one);
    await importImage(world, two);
    const [foo, bar] = [await connectedHost(world, 'foo'), await connectedHost(world, 'bar')];
    await world.api('POST', '/1.0/instances?target=foo', { source: { type: 'image', fingerprint: hashOf(one) } });
    const [command] = foo.pending();
    expect(await ask(foo, command!.id, hashOf(two))).toMatchObject({ error: { code: 'forbidden' } });
    expect(await ask(bar, command!.id, hashOf(one))).toMatchObject({ error: { code: 'forbidden' } });
    await foo.work();
    expect(await ask(foo, command!.id, hashOf(one))).toMatchObject({ error: { code: 'forbidden' } });
  });

  it('are told as gone when the image was deleted meanwhile', async () => {
    await using world = await openWorld();
    const bytes = goodImage();
    await importImage(world, bytes);
    const host = await connectedHost(world, 'foo');
    await world.api('POST', '/1.0/instances', { source: { type: 'image', fingerprint: hashOf(bytes) } });
    await world.api('DELETE', `/1.0/images/${hashOf(bytes)}`);
    expect(await ask(host, host.pending()[0]!.id, hashOf(bytes))).toMatchObject({
      error: { code: 'not_found', message: expect.stringContaining('deleted meanwhile') },
    });
  });
});
