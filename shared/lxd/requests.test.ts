import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { isFairleadError } from '../errors.ts';
import { async, Envelope, error, sync } from './envelope.ts';
import { ExecControl, InstanceExecPost } from './exec.ts';
import { AliasesPost, ImagesPost } from './image.ts';
import {
  bareSnapshotName,
  InstancePost,
  InstancePut,
  InstancesPost,
  InstanceStatePut,
  SnapshotsPost,
} from './instance.ts';
import type { Operation } from './operation.ts';
import { parse } from './parse.ts';
import { isFinal, STATUS, STATUS_NAME } from './status.ts';

function refusal(schema: z.ZodType, value: unknown): { code: string; message: string } {
  try {
    parse(schema, value, 'request');
  } catch (thrown) {
    if (isFairleadError(thrown)) return { code: thrown.code, message: thrown.message };
    throw thrown;
  }
  throw new Error('expected a refusal');
}

// Bodies as recorded from lxc 5.0.2.
const LAUNCH = {
  architecture: '',
  config: {},
  devices: {},
  ephemeral: false,
  profiles: null,
  stateful: false,
  description: '',
  name: 'c1',
  source: { type: 'image', certificate: '', fingerprint: '30d4'.repeat(16), allow_inconsistent: false },
  instance_type: '',
  type: 'container',
};
const RESTORE = {
  architecture: '',
  config: null,
  devices: null,
  ephemeral: false,
  profiles: null,
  restore: 'c1/s1',
  stateful: false,
};

describe('what stock clients send', () => {
  it('reads a launch and keeps "no profiles given" apart from "no profiles"', () => {
    expect(parse(InstancesPost, LAUNCH, 'instance')).toMatchObject({ name: 'c1', profiles: null, start: false });
    expect(parse(InstancesPost, { ...LAUNCH, profiles: [] }, 'instance').profiles).toEqual([]);
  });

  it('lets unknown keys through, at every level', () => {
    const read = parse(InstancesPost, { ...LAUNCH, later: 1, source: { ...LAUNCH.source, later: 2 } }, 'instance');
    expect(read).toMatchObject({ later: 1, source: { later: 2 } });
  });

  it('takes an empty name as "choose one" and null maps as empty ones', () => {
    const read = parse(InstancesPost, { name: '', source: { type: 'none' }, config: null }, 'instance');
    expect(read).toMatchObject({ name: '', config: {}, devices: {} });
  });

  it('reads a restore, whose other fields are null', () => {
    expect(parse(InstancePut, RESTORE, 'instance').restore).toBe('c1/s1');
    expect(bareSnapshotName('c1/s1')).toBe('s1');
    expect(bareSnapshotName('s1')).toBe('s1');
  });

  it('reads state changes, snapshots, renames, execs, publishes and aliases', () => {
    parse(InstanceStatePut, { action: 'start', timeout: -1, force: false, stateful: false }, 'state');
    parse(SnapshotsPost, { name: '', stateful: false, expires_at: null }, 'snapshot');
    parse(
      InstancePost,
      { name: '', migration: true, live: false, container_only: false, target: null, pool: '' },
      'move',
    );
    const exec = {
      command: ['sh'],
      'wait-for-websocket': true,
      interactive: true,
      environment: { TERM: 'xterm' },
      width: 80,
    };
    expect(parse(InstanceExecPost, exec, 'exec').height).toBe(0);
    const source = { alias: '', protocol: '', mode: '', type: 'instance', name: 'c1/s1', fingerprint: '' };
    parse(
      ImagesPost,
      { public: true, properties: {}, profiles: null, source, compression_algorithm: '', aliases: null },
      'image',
    );
    parse(ImagesPost, { source: { mode: 'push', type: '', fingerprint: 'ab' } }, 'image');
    parse(AliasesPost, { description: '', target: '30d42b9f21bb', name: 'ubuntu/24.04', type: '' }, 'alias');
  });

  it('reads window sizes, which come as strings, as numbers', () => {
    const resize = { command: 'window-resize', args: { width: '120', height: '40' }, signal: 0 };
    expect(parse(ExecControl, resize, 'control message')).toMatchObject({ args: { width: 120, height: 40 } });
  });
});

describe('refusals', () => {
  it('name every wrong field with its path', () => {
    const { code, message } = refusal(InstancePut, { config: { 'limits.cpu': 2 }, devices: { root: 'disk' } });
    expect(code).toBe('bad_request');
    expect(message).toContain('config["limits.cpu"]: ');
    expect(message).toContain('devices.root: ');
  });

  it('carry bad_name for a wrong name', () => {
    const { code, message } = refusal(InstancesPost, { ...LAUNCH, name: 'a/b' });
    expect(code).toBe('bad_name');
    expect(message).toContain('"a/b" is not a valid instance name');
  });

  it('say that virtual machines do not exist here', () => {
    expect(refusal(InstancesPost, { ...LAUNCH, type: 'virtual-machine' }).message).toContain('only containers');
  });

  it('let no argument ride on a compression algorithm', () => {
    expect(
      refusal(ImagesPost, { source: { type: 'instance', name: 'c1' }, compression_algorithm: 'gzip -9' }).code,
    ).toBe('bad_request');
  });

  it('are short however much is wrong', () => {
    const config = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i]));
    const { message } = refusal(InstancePut, { config });
    expect(message.length).toBeLessThan(600);
    expect(message).toContain('and 495 more');
  });

  it('escape control characters of what they quote', () => {
    expect(refusal(InstancePut, { config: { 'a\nb': 1 } }).message).not.toContain('\n');
  });
});

describe('envelopes', () => {
  const operation: Operation = {
    id: 'b1',
    class: 'task',
    description: 'Creating instance',
    created_at: '2026-01-01T00:00:00Z',
    updated_at: '2026-01-01T00:00:00Z',
    status: 'Running',
    status_code: STATUS.running,
    resources: null,
    metadata: null,
    may_cancel: false,
    err: '',
    location: 'none',
  };

  it('have the shapes LXD answers with', () => {
    const plain = { operation: '', error_code: 0, error: '' };
    expect(sync([])).toEqual({ type: 'sync', status: 'Success', status_code: 200, metadata: [], ...plain });
    expect(async(operation)).toMatchObject({
      status: 'Operation created',
      status_code: 100,
      operation: '/1.0/operations/b1',
    });
    expect(error(404, 'no')).toMatchObject({
      type: 'error',
      status_code: 0,
      error_code: 404,
      error: 'no',
      metadata: null,
    });
  });

  it('are read back as what they are', () => {
    for (const envelope of [sync(1), async(operation), error(500, 'x')]) {
      expect(parse(Envelope, JSON.parse(JSON.stringify(envelope)), 'answer')).toEqual(envelope);
    }
  });

  it('know which operations are over', () => {
    const over = Object.values(STATUS).filter(isFinal);
    expect(over.map((code) => STATUS_NAME[code])).toEqual(['Success', 'Failure', 'Cancelled']);
  });
});
