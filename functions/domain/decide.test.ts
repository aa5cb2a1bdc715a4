import { describe, expect, it } from 'vitest';

import { openWorld } from '../../test/world.ts';
import { decide } from './decide.ts';

const key = { pk: 'COUNTER', sk: '=' };

describe('decide', () => {
  it('decides anew on what others wrote in between, so that nothing is lost', async () => {
    await using world = await openWorld();
    const { records } = world.ports;
    await records.transact([{ op: 'put', key, data: 0, when: 'absent' }]);
    const increment = () =>
      decide(
        world.ports,
        async () => (await records.get<number>(key))!,
        ({ data, rev }) => ({ writes: [{ op: 'put', key, data: data + 1, when: { rev } }], effects: [], value: data }),
      );
    await Promise.all(Array.from({ length: 6 }, increment));
    expect((await records.get<number>(key))?.data).toBe(6);
  });

  it('gives up with a conflict when others keep writing', async () => {
    await using world = await openWorld();
    const never = decide(
      world.ports,
      async () => 1,
      () => ({ writes: [{ op: 'put', key, data: 1, when: { rev: 99 } }], effects: [], value: undefined }),
    );
    await expect(never).rejects.toMatchObject({ code: 'conflict' });
  });

  it('writes nothing when the plan refuses', async () => {
    await using world = await openWorld();
    const before = await world.dump();
    const refused = decide(
      world.ports,
      async () => 1,
      () => {
        throw new Error('refused');
      },
    );
    await expect(refused).rejects.toThrow('refused');
    expect(await world.dump()).toEqual(before);
  });
});
