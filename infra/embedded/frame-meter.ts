/**
 * Reads the headers of websocket frames (RFC 6455 §5.2) as they pass, because `ws` bounds messages only: API Gateway closes on a frame that is
 * too large, also when the message is not. Takes the next bytes; false once a frame is larger than `maxFrameBytes`.
 */
export function frameMeter(maxFrameBytes: number): (chunk: Uint8Array) => boolean {
  const MASK_BYTES = 4;
  const header = Buffer.alloc(2 + 8 + MASK_BYTES);
  let have = 0;
  let skip = 0;

  /** Bytes of the header, as far as is known yet. */
  const headerSize = () => {
    if (have < 2) return 2;
    const length = header.readUInt8(1) & 0x7f;
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
    return 2 + extended + (header.readUInt8(1) & 0x80 ? MASK_BYTES : 0);
  };
  const payloadLength = () => {
    const length = header.readUInt8(1) & 0x7f;
    if (length === 126) return header.readUInt16BE(2);
    return length === 127 ? Number(header.readBigUInt64BE(2)) : length;
  };

  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length - at);
        skip -= skipped;
        at += skipped;
        continue;
      }
      header[have] = chunk[at] ?? 0;
      have += 1;
      at += 1;
      if (have < headerSize()) continue;
      have = 0;
      skip = payloadLength();
      if (skip > maxFrameBytes) return false;
    }
    return true;
  };
}
