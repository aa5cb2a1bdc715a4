import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { frameMeter } from './frame-meter.ts';

/** A frame as it is on the wire, masked or not, with a length written as short as possible. */
function frame(length: number, masked: boolean): Buffer {
  const mask = masked ? 0x80 : 0;
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = 0x81;
  header[1] = mask | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, Buffer.alloc((masked ? 4 : 0) + length, 0xff)]);
}

describe('the frame meter', () => {
  it('finds the first frame that is too large, however the bytes are cut', () => {
    const lengths = fc.array(fc.oneof(fc.constantFrom(0, 125, 126, 999, 1000, 1001, 65_535, 65_536), fc.nat(1200)), {
      maxLength: 8,
    });
    const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(lengths, fc.boolean(), cuts, (lengths, masked, cuts) => {
        const within = frameMeter(1000);
        const bytes = Buffer.concat(lengths.map((length) => frame(length, masked)));
        let fine = true;
        for (let at = 0, turn = 0; at < bytes.length && fine; turn += 1) {
          const size = cuts[turn % cuts.length]!;
          fine = within(bytes.subarray(at, at + size));
          at += size;
        }
        expect(fine).toBe(lengths.every((length) => length <= 1000));
      }),
    );
  });
});
