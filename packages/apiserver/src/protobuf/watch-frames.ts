import { isObject } from '@slipway/apimachinery';
import type { WatchFrame, WatchSession } from '../pipeline/request.ts';
import { encodeWatchFrame } from './encode.ts';

/** Watchers of the same event share its frame. */
const encoded = new WeakMap<WatchFrame, WatchFrame>();

/** A watch whose events leave in protobuf. */
export function watchInProtobuf(watch: WatchSession): WatchSession {
  return { start: (onFrame, onEnd) => watch.start((frame) => onFrame(frameInProtobuf(frame)), onEnd) };
}

function frameInProtobuf(frame: WatchFrame): WatchFrame {
  const known = encoded.get(frame);
  if (known !== undefined) return known;
  const { type, object } = frame;
  const line = encodeWatchFrame(type, isObject(object) ? object : {});
  const chunk = Buffer.concat([Buffer.from(`${line.length.toString(16)}\r\n`), line, Buffer.from('\r\n')]);
  const made: WatchFrame = { type, object, line, chunk };
  encoded.set(frame, made);
  return made;
}
