/** One datagram as it travels in a byte stream: its length as two bytes, big-endian, then its bytes. */
export function frameDatagram(datagram: Uint8Array): Uint8Array {
  if (datagram.length > 0xffff) throw new Error('A datagram has at most 65535 bytes');
  const frame = new Uint8Array(2 + datagram.length);
  frame[0] = datagram.length >> 8;
  frame[1] = datagram.length & 0xff;
  frame.set(datagram, 2);
  return frame;
}

/** The datagrams in a byte stream, however it is cut. */
export async function* datagramFrames(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk]);
    for (let length = frameLength(rest); length !== undefined; length = frameLength(rest)) {
      yield rest.slice(2, 2 + length);
      rest = rest.slice(2 + length);
    }
  }
}

/** Length of the first datagram when it is complete. */
function frameLength(bytes: Uint8Array): number | undefined {
  const [high, low] = bytes;
  if (high === undefined || low === undefined) return undefined;
  const length = high * 256 + low;
  return bytes.length >= 2 + length ? length : undefined;
}
