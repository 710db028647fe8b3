import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireInstance } from '../instance/instance-store.ts';
import { logFile } from '../instance/paths.ts';
import { UserError } from '../report-failure.ts';
import { SERVER } from './component-specs.ts';
import { tail } from './component.ts';

const FOLLOW_INTERVAL_MS = 300;

/** `slipway logs`: JSON lines of one component or of all; `.out` files hold what a crash printed. */
export async function logs(
  component: string | undefined,
  options: { dataDir: string; follow?: boolean; tail: number },
): Promise<void> {
  const { config, paths } = requireInstance(options.dataDir);
  const names = [SERVER, ...config.nodes.map((node) => node.name)];
  if (component !== undefined && !names.includes(component))
    throw new UserError(`There is no component ${component}; there are ${names.join(', ')}`);
  const files = (component === undefined ? names : [component])
    .flatMap((name) => [logFile(paths, name), join(paths.logs, `${name}.out`)])
    .filter((file) => existsSync(file) && statSync(file).size > 0);
  for (const file of files) {
    accessSync(file, constants.R_OK);
    if (files.length > 1) console.log(`==> ${file} <==`);
    console.log(tail(file, options.tail));
  }
  if (options.follow) await Promise.all(files.map(follow));
}

async function follow(file: string): Promise<never> {
  let position = statSync(file).size;
  for (;;) {
    await sleep(FOLLOW_INTERVAL_MS);
    const { size } = statSync(file);
    if (size < position) position = 0; // it was rotated
    if (size === position) continue;
    const chunk = Buffer.alloc(size - position);
    const descriptor = openSync(file, 'r');
    readSync(descriptor, chunk, 0, chunk.length, position);
    closeSync(descriptor);
    process.stdout.write(chunk);
    position = size;
  }
}
