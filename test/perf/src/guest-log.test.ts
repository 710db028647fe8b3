import { describe, expect, it } from 'vitest';
import { GuestLog } from './guest-log.ts';

async function* printed(...parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield new TextEncoder().encode(part);
}

describe('GuestLog', () => {
  it('answers each text once, in the order in which the guest printed it', async () => {
    const log = new GuestLog(printed('boot [+s', 'da] more [-sda]', '[+sda]'), () => {});
    await log.until('[+sda]');
    await log.until('[-sda]');
    await log.until('[+sda]');
    await expect(log.until('[+sda]')).rejects.toThrow('never printed [+sda]');
  });

  it('says what the guest printed last when it ends', async () => {
    const log = new GuestLog(printed('Kernel panic'), () => {});
    await expect(log.until('login:')).rejects.toThrow('Kernel panic');
  });
});
