import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { recordsContract } from '../../functions/ports/records.contract.ts';
import type { Query } from '../../functions/ports/records.ts';
import { openSqliteRecords } from './sqlite-records.ts';

recordsContract('SQLite', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'records-'));
  const records = openSqliteRecords(join(dir, 'records.db'));
  return {
    records,
    close: async () => {
      await records.close();
      rmSync(dir, { recursive: true });
    },
  };
});

describe('records in SQLite', () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'records-'));
    path = join(dir, 'records.db');
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const put = (sk: string, expiresAt?: number) =>
    ({ op: 'put', key: { pk: 'p', sk }, data: sk, when: 'absent', ...(expiresAt && { expiresAt }) }) as const;

  it('are there again after a restart', async () => {
    const first = openSqliteRecords(path);
    await first.transact([put('a')]);
    await first.close();
    const second = openSqliteRecords(path);
    expect(await second.get({ pk: 'p', sk: 'a' })).toMatchObject({ data: 'a', rev: 1 });
    await second.close();
  });

  it('lose the expired ones to the broom, and only those', async () => {
    const records = openSqliteRecords(path);
    await records.transact([put('old', 1000), put('now', 2000), put('later', 2001), put('ever')]);
    expect(await records.sweepExpired(2000)).toBe(2);
    expect((await records.query('p')).items.map((item) => item.sk)).toEqual(['ever', 'later']);
    await records.transact([put('old')]);
    await records.close();
  });

  it('lose very many expired ones in turns, between which others work', async () => {
    const records = openSqliteRecords(path);
    await Promise.all(Array.from({ length: 2500 }, (_, n) => records.transact([put(`k${n}`, 1000)])));
    const sweep = records.sweepExpired(2000);
    await records.transact([put('meanwhile')]);
    expect((await records.query('p')).items.length).toBeGreaterThan(1);
    expect(await sweep).toBe(2500);
    expect((await records.query('p')).items).toHaveLength(1);
    await records.close();
  });

  it('are written before close ends, and refuse work after it', async () => {
    const records = openSqliteRecords(path);
    const late = records.transact([put('a')]);
    await records.close();
    await late;
    await expect(records.get({ pk: 'p', sk: 'a' })).rejects.toMatchObject({ code: 'unavailable' });
    await records.close();
  });

  it('stand in files that only the owner reads, whatever the umask', async () => {
    const before = process.umask(0);
    const records = openSqliteRecords(path);
    await records.transact([put('a')]);
    process.umask(before);
    for (const name of [path, `${path}-wal`, `${path}-shm`]) expect(statSync(name).mode & 0o777).toBe(0o600);
    await records.close();
  });

  it('find the end of a large partition as fast as its beginning', async () => {
    const records = openSqliteRecords(path);
    const name = (n: number) => `k${String(n).padStart(5, '0')}`;
    await Promise.all(Array.from({ length: 9000 }, (_, n) => records.transact([put(name(n))])));
    const took = async (query: Query) => {
      const start = performance.now();
      for (let n = 0; n < 100; n += 1) await records.query('p', { limit: 5, ...query });
      return performance.now() - start;
    };
    await took({});
    const quick = await took({});
    const queries = [{ prefix: name(8990) }, { after: name(8990) }, { prefix: 'k', after: name(8990) }];
    for (const query of queries) expect(await took(query)).toBeLessThan(10 * quick + 5);
    for (const query of [{ prefix: name(10) }, { prefix: 'k', after: name(10) }]) {
      expect(await took({ ...query, descending: true })).toBeLessThan(10 * quick + 5);
    }
    await records.close();
  });

  it('say which file is no record store', () => {
    expect(() => openSqliteRecords(dir)).toThrow(/records in .*cannot be opened/);
  });

  it('keep every transaction that was answered when the process is killed', { timeout: 60_000 }, async () => {
    const acked = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      for (const pair of await writeUntilKilled(path, round)) acked.add(pair);
    }
    expect(acked.size).toBeGreaterThan(50);
    const records = openSqliteRecords(path);
    for (const name of acked) {
      expect(await records.get({ pk: 'left', sk: name }), `left ${name}`).toBeDefined();
      expect(await records.get({ pk: 'right', sk: name }), `right ${name}`).toBeDefined();
    }
    // Also what was not answered is all or nothing.
    const names = async (pk: string) => (await records.query(pk, { limit: 500 })).items.map((item) => item.sk);
    expect(await names('left')).toEqual(await names('right'));
    await records.close();
  });
});

/** Eight writers in a child process that is killed in full flight; the names whose transaction was answered. */
async function writeUntilKilled(path: string, round: number): Promise<string[]> {
  const script = `
    const { openSqliteRecords } = await import(${JSON.stringify(new URL('sqlite-records.ts', import.meta.url).href)});
    const records = openSqliteRecords(${JSON.stringify(path)});
    await Promise.all(Array.from({ length: 8 }, async (_, writer) => {
      for (let n = 0; ; n += 1) {
        const sk = ${JSON.stringify(round)} + '-' + writer + '-' + n;
        const put = (pk) => ({ op: 'put', key: { pk, sk }, data: 'x'.repeat(500), when: 'absent' });
        await records.transact([put('left'), put('right')]);
        process.stdout.write(sk + '\\n');
      }
    }));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: new URL('.', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acked: string[] = [];
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    acked.push(line);
    if (acked.length === 60 + round * 37) child.kill('SIGKILL');
  }
  await ended;
  return acked;
}
