import { describe, expect, it } from 'vitest';

import { against } from '../testing/against.ts';
import { useUtc } from '../testing/utc.ts';
import { ok, type Routes } from '../testing/server.ts';

const FINGERPRINT = '30d42b9f21bb7dc700cbbed7c443e4f56be4f58b053ff17d3a9c5495fd336bf8';

const alias: Routes = {
  'GET /1.0/images/aliases/bb': () => ok({ name: 'bb', description: '', target: FINGERPRINT, type: 'container' }),
};
useUtc();

describe('image', () => {
  const image = {
    fingerprint: FINGERPRINT,
    public: true,
    auto_update: false,
    cached: false,
    properties: { os: 'Busybox', description: 'Busybox x86_64' },
    aliases: [{ name: 'bb', description: '' }],
    architecture: 'x86_64',
    type: 'container',
    filename: 'busybox.tar.gz',
    size: 1_020_000,
    profiles: ['default'],
    created_at: '2025-10-09T08:53:00Z',
    expires_at: '1970-01-01T00:00:00Z',
    last_used_at: '0001-01-01T00:00:00Z',
    uploaded_at: '2026-11-20T18:03:00Z',
  };
  const routes: Routes = {
    ...alias,
    'GET /1.0/images': () => ok([image]),
    [`GET /1.0/images/${FINGERPRINT}`]: () => ok(image),
  };

  it('is listed as lxc does', async () => {
    const { stdout } = await against(routes, ['image', 'list', 'os=busybox']);
    const [rule, headings, , row] = stdout.split('\n');
    expect(rule).toMatch(
      /^\+-------\+--------------\+--------\+----------------\+--------------\+-----------\+--------\+-+\+$/,
    );
    expect(headings).toMatch(
      /^\| ALIAS \| FINGERPRINT  \| PUBLIC \|  DESCRIPTION   \| ARCHITECTURE \|   TYPE    \|  SIZE  \| +UPLOAD DATE +\|$/,
    );
    expect(row).toMatch(
      /^\| bb    \| 30d42b9f21bb \| yes    \| Busybox x86_64 \| x86_64       \| CONTAINER \| 1\.02MB \| Nov 20, 2026 at /,
    );
  });

  it('is described as lxc does', async () => {
    const { stdout } = await against(routes, ['image', 'info', 'bb']);
    expect(stdout).toContain(
      `Fingerprint: ${FINGERPRINT}\nSize: 1.02MB\nArchitecture: x86_64\nType: container\nPublic: yes\nTimestamps:\n    Created: 2025/10/09`,
    );
    expect(stdout).toContain(
      '    Expires: never\n    Last used: never\nProperties:\n    description: Busybox x86_64\n    os: Busybox\nAliases:\n    - bb\nCached: no\n',
    );
  });

  it('has aliases with slashes', async () => {
    const ran = await against({ ...routes, 'POST /1.0/images/aliases': () => ok({}) }, [
      'image',
      'alias',
      'create',
      'busybox/edge',
      'bb',
    ]);
    expect(ran.bodies[1]).toEqual({ name: 'busybox/edge', target: FINGERPRINT, description: '', type: 'container' });
    expect((await against({}, ['image', 'alias', 'delete', 'a/b'])).calls).toEqual([
      'DELETE /1.0/images/aliases/a%2Fb',
    ]);
  });
});
