import { goldenDomainXml, goldenLauncherPod } from '@slipway/virt';

async function readStdin(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += String(chunk);
  return text;
}

/** `slipway dev domain-xml`: one recorded case on stdin, the domain XML that the node agent would define on stdout. */
export async function domainXml(): Promise<void> {
  const { GOLDEN_CONTEXT: context, GOLDEN_CONFIG: config } = process.env; // set by the comparison program
  process.stdout.write(goldenDomainXml(JSON.parse(await readStdin()), { context, config }));
}

/** `slipway dev launcher-pod`: one recorded case on stdin, the launcher pod on stdout. */
export async function launcherPod(): Promise<void> {
  process.stdout.write(`${JSON.stringify(goldenLauncherPod(JSON.parse(await readStdin())))}\n`);
}
