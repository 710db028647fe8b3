import { systemClock } from '@slipway/runtime';
import { hostImageTools } from '../host-image-tools.ts';
import type { MoverIo } from '../main.ts';

/** What a transfer needs of the process around it: the tools of this host, the real time, and nobody who listens. */
export async function testIo(signal: AbortSignal, progress: (line: string) => void = () => {}): Promise<MoverIo> {
  const tools = await hostImageTools(() => {}, signal);
  return { tools, clock: systemClock, random: Math.random, bootId: 'boot', progress, log: () => {} };
}
