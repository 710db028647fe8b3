import type { Duplex } from 'node:stream';

/** Joins two streams. When either is closed the other one is, after what was read from the first has been written to it. */
export function bridgeStreams(left: Duplex, right: Duplex): void {
  joinOneWay(left, right);
  joinOneWay(right, left);
}

function joinOneWay(from: Duplex, to: Duplex): void {
  from.on('error', () => {}); // its close is what counts
  from.once('close', () => {
    if (!to.destroyed) to.end(() => to.destroy());
  });
  if (from.destroyed) to.destroy();
  else from.pipe(to);
}
