import { existsSync, writeFileSync } from 'node:fs';
import { serveImages } from '@slipway/daemon';
import { guestImage, startPlatform } from '../../e2e/src/platform.ts';
import { connect, GOLDEN_CLAIM, NAMESPACE } from './bench-world.ts';
import { type Benchmark, BENCHMARKS, type BenchContext } from './benchmarks.ts';
import { formatRows, type Row } from './rows.ts';

/** `slipway bench [NAME…] [--json FILE]`: measures on installations of its own in /tmp and prints one row per promise. */
async function main(argv: readonly string[]): Promise<void> {
  const jsonAt = argv.indexOf('--json');
  const jsonFile = jsonAt >= 0 ? argv[jsonAt + 1] : undefined;
  const names = argv.filter((word, index) => word !== '--json' && (jsonAt < 0 || index !== jsonAt + 1));
  const unknown = names.filter((name) => !(name in BENCHMARKS));
  if (unknown.length > 0) {
    console.error(`slipway: Unknown benchmark ${unknown.join(', ')}; there are ${Object.keys(BENCHMARKS).join(', ')}`);
    process.exitCode = 2;
    return;
  }
  const chosen = Object.entries(BENCHMARKS).filter(([name]) => names.length === 0 || names.includes(name));
  const rows: Row[] = [];
  const report = (text: string) => process.stderr.write(`  ${text}\n`);
  if (chosen.some(([, { needsImage }]) => needsImage !== false)) report('building the tiny guest');
  const qcow2Path = chosen.some(([, { needsImage }]) => needsImage !== false) ? (await guestImage('tiny')).qcow2Path : '';
  const alone: BenchContext = { world: undefined as never, image: qcow2Path, imageUrl: '', hideKvm: true, report }; // not read by those
  const measure: Measure = async (name, run, context) => {
    try {
      const measured = await run(context);
      rows.push(...measured);
      // at once, so that a later failure or an impatient user does not cost what is known
      process.stderr.write(`${formatRows(measured)}\n`);
    } catch (error) {
      report(`${name} failed: ${error instanceof Error ? error.stack : String(error)}`);
      process.exitCode = 1;
    }
  };
  for (const [name, { run, needsWorld }] of chosen) if (!needsWorld) await measure(name, run, alone);
  if (chosen.some(([, { needsWorld }]) => needsWorld)) await measureTogether(chosen, qcow2Path, report, measure);
  console.log(formatRows(rows));
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify(rows, undefined, 2)}\n`);
}

type Measure = (name: string, run: Benchmark, context: BenchContext) => Promise<void>;

async function measureTogether(
  benchmarks: readonly (readonly [string, (typeof BENCHMARKS)[string]])[],
  image: string,
  report: (text: string) => void,
  measure: Measure,
): Promise<void> {
  const images = await serveImages({ '/tiny.qcow2': image });
  const imageUrl = `${images.url}/tiny.qcow2`;
  const platform = await startPlatform();
  const world = await connect(platform);
  try {
    report('importing the golden image');
    await platform.apply(goldenImage(imageUrl));
    await platform.kubectl(
      'wait',
      `datavolume/${GOLDEN_CLAIM}`,
      '-n',
      NAMESPACE,
      '--for=jsonpath={.status.phase}=Succeeded',
      '--timeout=120s',
    );
    const status = await world.status();
    const hideKvm = !existsSync('/dev/kvm') || status.nodes[0]?.accelerator !== 'kvm';
    for (const [name, { run, needsWorld }] of benchmarks)
      if (needsWorld) await measure(name, run, { world, image, imageUrl, hideKvm, report });
  } finally {
    await world.close();
    await platform.destroy();
    await images.close();
  }
}

const goldenImage = (url: string): object => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: {
    name: GOLDEN_CLAIM,
    namespace: NAMESPACE,
    annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' },
  },
  spec: { source: { http: { url } }, storage: { resources: { requests: { storage: '128Mi' } } } },
});

await main(process.argv.slice(2));
