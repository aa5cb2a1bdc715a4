import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_PROFILES } from './defaults.ts';
import { validateDevices } from './devices.ts';
import { expand, type Layer } from './expand.ts';
import { validateConfig } from './keys.ts';
import { changedDevices, changedKeys, needRestart } from './liveUpdate.ts';
import { dropVolatile, keepVolatile } from './volatile.ts';

const name = fc.constantFrom('a', 'b', 'c', 'd', '__proto__', 'constructor');
const map = fc.array(fc.tuple(name, fc.constantFrom('', '1', '2', '3'))).map((pairs) => Object.fromEntries(pairs));
const layer: fc.Arbitrary<Layer> = fc.record({
  config: map,
  devices: fc.array(fc.tuple(name, map)).map((pairs) => Object.fromEntries(pairs)),
});
const nothing: Layer = { config: {}, devices: {} };

describe('expansion', () => {
  it('gives each key the value of the last layer that has it, and each device whole', () => {
    fc.assert(
      fc.property(fc.array(layer, { maxLength: 4 }), layer, (profiles, local) => {
        const { config, devices } = expand(profiles, local);
        const layers = [...profiles, local];
        for (const key of ['a', 'b', 'c', 'd', '__proto__', 'constructor']) {
          const inConfig = layers.findLast((one) => Object.hasOwn(one.config, key))?.config;
          expect(Object.hasOwn(config, key)).toBe(inConfig !== undefined);
          if (inConfig) expect(config[key]).toBe(inConfig[key]);
          const inDevices = layers.findLast((one) => Object.hasOwn(one.devices, key))?.devices;
          expect(Object.hasOwn(devices, key)).toBe(inDevices !== undefined);
          if (inDevices) expect(Object.entries(devices[key]!)).toEqual(Object.entries(inDevices[key]!));
        }
      }),
    );
  });

  it('may be done in steps', () => {
    fc.assert(
      fc.property(layer, layer, layer, (a, b, c) => {
        expect(expand([a, b], c)).toEqual(expand([expand([a], b)], c));
        expect(expand([a], nothing)).toEqual(expand([nothing], a));
        expect(expand([a, a], a)).toEqual(expand([], a));
      }),
    );
  });

  it('shares nothing with its layers', () => {
    const local: Layer = { config: { a: '1' }, devices: { d: { type: 'none' } } };
    const effective = expand([], local);
    effective.config['a'] = '2';
    effective.devices['d']!['type'] = 'nic';
    expect(local).toEqual({ config: { a: '1' }, devices: { d: { type: 'none' } } });
  });

  it('replaces a device of a profile by "none", which stays visible', () => {
    const [profile] = DEFAULT_PROFILES;
    expect(expand([profile!], { config: {}, devices: { eth0: { type: 'none' } } }).devices).toMatchObject({
      eth0: { type: 'none' },
      root: { path: '/' },
    });
  });
});

describe('the profiles that exist from the start', () => {
  it('are valid', () => {
    for (const { config, devices } of DEFAULT_PROFILES) {
      validateConfig(config);
      validateDevices(devices);
    }
  });
});

describe('a change', () => {
  it('names what differs, and what of it waits for a restart', () => {
    const keys = changedKeys(
      { 'limits.cpu': '1', 'user.a': '', 'raw.lxc': 'x' },
      { 'limits.cpu': '2', 'security.nesting': 'true', 'raw.lxc': 'x' },
    );
    expect(keys).toEqual(['limits.cpu', 'security.nesting']);
    expect(needRestart(keys)).toEqual(['security.nesting']);
    expect(
      changedDevices({ a: { type: 'none' }, b: { type: 'nic' } }, { b: { type: 'nic' }, c: { type: 'none' } }),
    ).toEqual(['a', 'c']);
  });

  it('is empty between equals and the same both ways', () => {
    fc.assert(
      fc.property(map, map, (a, b) => {
        expect(changedKeys(a, { ...a })).toEqual([]);
        expect(changedKeys(a, b)).toEqual(changedKeys(b, a));
      }),
    );
  });

  it('never touches volatile keys', () => {
    const current = { 'user.a': '1', 'volatile.uuid': 'real', 'volatile.eth0.hwaddr': 'real' };
    expect(keepVolatile({ 'user.a': '2', 'volatile.uuid': 'forged', 'volatile.x': 'new' }, current)).toEqual({
      ...current,
      'user.a': '2',
    });
    expect(dropVolatile({ ...current, 'volatile.base_image': 'ab' })).toEqual({
      'user.a': '1',
      'volatile.base_image': 'ab',
    });
  });
});
