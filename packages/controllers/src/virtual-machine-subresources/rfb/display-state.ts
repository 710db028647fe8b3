/** What a display session has come to: all that another server must be told to go on with it. */
export interface DisplayState {
  /** Minor number of the protocol's version, as the client chose it. */
  version: number;
  /** The server has described the display: the session is past its handshake. */
  isReady: boolean;
  width: number;
  height: number;
  /** PIXEL_FORMAT, 16 bytes. */
  format: Uint8Array;
  /** As the client announced them; undefined: it has not. */
  encodings: readonly number[] | undefined;
  /** The client has asked for a picture. */
  hasAsked: boolean;
  /** Rectangles that the update under way still lacks. */
  rectanglesLeft: number;
  /** The session is not with its first server any more. */
  hasMoved: boolean;
  /** Encodings of whose zlib streams the client still has the state of another server. */
  readonly stale: Set<number>;
}

export const newDisplay = (): DisplayState => ({
  version: 8,
  isReady: false,
  width: 0,
  height: 0,
  format: new Uint8Array(16),
  encodings: undefined,
  hasAsked: false,
  rectanglesLeft: 0,
  hasMoved: false,
  stale: new Set(),
});

/** Encodings and pseudo-encodings that QEMU has, by the registry of RFC 6143 and of its successors. */
export const Encoding = {
  raw: 0,
  copyRect: 1,
  rre: 2,
  hextile: 5,
  zlib: 6,
  tight: 7,
  zrle: 16,
  zywrle: 17,
  desktopSize: -223,
  lastRect: -224,
  cursor: -239,
  pointerType: -257,
  extendedKeys: -258,
  audio: -259,
  tightPng: -260,
  ledState: -261,
  desktopName: -307,
  extendedDesktopSize: -308,
  xvp: -309,
  alphaCursor: -314,
  pixelFormat: 0x574d5669,
} as const;

export const bytesPerPixel = ({ format }: DisplayState): number => (format[0] ?? 0) >> 3;

/** Tight sends pixels of four bytes as three when each colour has eight bits. */
export function bytesPerTightPixel(display: DisplayState): number {
  const { format } = display;
  const isTrueColour = [4, 6, 8].every((offset) => format[offset] === 0 && format[offset + 1] === 255);
  const bytes = bytesPerPixel(display);
  return bytes === 4 && isTrueColour ? 3 : bytes;
}

export const u16 = (bytes: Uint8Array, offset = 0): number => Buffer.from(bytes.buffer, bytes.byteOffset).readUInt16BE(offset);
export const u32 = (bytes: Uint8Array, offset = 0): number => Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32BE(offset);
export const s32 = (bytes: Uint8Array, offset = 0): number => Buffer.from(bytes.buffer, bytes.byteOffset).readInt32BE(offset);
