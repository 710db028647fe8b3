import { bytesPerPixel, type DisplayState, Encoding, s32, u16, u32 } from './display-state.ts';
import { type Parser, UnknownMessage } from './framer.ts';
import { rectangle, rectangleHead } from './rectangles.ts';

const NO_SECURITY = 1;
const Message = { update: 0, colours: 1, bell: 2, cutText: 3, xvp: 250, qemu: 255 } as const;
const AUDIO_DATA = 2;

/** What a server sends, from its first byte. */
export function* serverStream(display: DisplayState): Parser {
  yield { take: 12 };
  yield 'whole';
  // it goes on only when the client has chosen a version
  const [first = 0] = yield { take: 1 };
  if (display.version < 7) {
    if (((yield { take: 3 })[2] ?? 0) !== NO_SECURITY) throw new UnknownMessage('security type');
    yield 'whole';
  } else {
    if (first === 0) throw new UnknownMessage('refusal');
    yield { skip: first };
    yield 'whole';
    if (display.version >= 8) {
      if (u32(yield { take: 4 }) !== 0) throw new UnknownMessage('refusal');
      yield 'whole';
    }
  }
  const init = yield { take: 24 };
  Object.assign(display, { width: u16(init), height: u16(init, 2), format: new Uint8Array(init.subarray(4, 20)) });
  yield { skip: u32(init, 20) };
  display.isReady = true;
  yield 'whole';
  yield* serverMessages(display);
}

/** What a server sends after the handshake. */
export function* serverMessages(display: DisplayState): Parser {
  for (;;) {
    const [type = 0] = yield { take: 1 };
    switch (type) {
      case Message.update:
        yield* update(display);
        break;
      case Message.colours:
        yield { skip: u16(yield { take: 5 }, 3) * 6 };
        break;
      case Message.bell:
        break;
      case Message.cutText:
        // negative: of the extended clipboard
        yield { skip: Math.abs(s32(yield { take: 7 }, 3)) };
        break;
      case Message.xvp:
        yield { skip: 3 };
        break;
      case Message.qemu:
        if (u16(yield { take: 3 }, 1) === AUDIO_DATA) yield { skip: u32(yield { take: 4 }) };
        break;
      default:
        throw new UnknownMessage(`server message ${type}`);
    }
    yield 'whole';
  }
}

function* update(display: DisplayState): Parser {
  const count = u16(yield { take: 3 }, 1);
  yield 'whole';
  for (display.rectanglesLeft = count; display.rectanglesLeft > 0; ) {
    const head = yield* rectangleHead();
    if (head.encoding === Encoding.lastRect) {
      display.rectanglesLeft = 0;
      break;
    }
    if (head.encoding === Encoding.raw) {
      yield 'whole';
      display.rectanglesLeft--;
      yield { pass: head.width * head.height * bytesPerPixel(display) };
      continue;
    }
    yield* rectangle(display, head);
    if (head.encoding === Encoding.desktopSize || (head.encoding === Encoding.extendedDesktopSize && head.y === 0))
      Object.assign(display, { width: head.width, height: head.height });
    display.rectanglesLeft--;
    yield 'whole';
  }
}
