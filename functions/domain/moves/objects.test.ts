import { describe, expect, it } from 'vitest';

import type { UpFrame } from '#shared/link/frames.ts';
import { connectedHost, type FakeHost } from '../../../test/fake-host.ts';
import { openFleet, settle, until, moveOf } from '../../../test/fake-fleet.ts';

describe('the objects of a move', () => {
  const put = (move: string, attempt = 1): UpFrame => ({
    t: 'ask-put',
    id: 'q',
    move,
    attempt,
    objects: [{ name: 'fs1-000000', length: 3, sha256: 'b'.repeat(64) }],
  });
  const get = (move: string): UpFrame => ({ t: 'ask-get', id: 'q', move, attempt: 1, names: ['fs1-000000'] });
  const answered = (host: FakeHost) =>
    host.inbox.at(-1) as { t: string; puts?: unknown[]; urls?: string[]; error?: { code: string } };

  it('are put by its source and read by its target, and by nobody else', async () => {
    await using fleet = await openFleet();
    const { world, foo, bar } = fleet;
    const baz = await connectedHost(world, 'baz');
    await until(fleet, 'park');
    const { id } = await moveOf(fleet);
    await foo.send(put(id));
    expect(answered(foo).puts).toEqual([
      { url: expect.stringContaining(`transfer/${id}/1/fs1-000000`) as string, headers: expect.anything() as object },
    ]);
    await bar.send(get(id));
    expect(answered(bar).urls).toHaveLength(1);
    for (const [host, frame] of [
      [foo, get(id)],
      [bar, put(id)],
      [baz, get(id)],
      [baz, put(id)],
    ] as const) {
      await host.send(frame);
      expect(answered(host)).toMatchObject({ error: { code: 'forbidden' } });
    }
    await foo.send(put(id, 2));
    expect(answered(foo)).toMatchObject({ error: { code: 'stale' } });
  });

  it('are announced to the target while the move is under way', async () => {
    await using fleet = await openFleet();
    const { foo, bar } = fleet;
    await until(fleet, 'park');
    const { id: move } = await moveOf(fleet);
    const chunk = {
      t: 'chunk',
      move,
      attempt: 1,
      name: 'fs1-000000',
      length: 3,
      sha256: 'b'.repeat(64),
    } satisfies UpFrame;
    await bar.send(chunk);
    expect(bar.inbox).not.toContainEqual(chunk);
    await foo.send(chunk);
    expect(bar.inbox).toContainEqual(chunk);
    await settle([foo, bar]);
    const before = bar.inbox.length;
    await foo.send(chunk);
    expect(bar.inbox).toHaveLength(before);
    await foo.send(put(move));
    expect(answered(foo)).toMatchObject({ error: { code: 'stale' } });
  });
});
