import { setTimeout as sleep } from 'node:timers/promises';
import { type Node, NodeKind } from '@slipway/api';
import { parseDuration, toYaml } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type ClusterOptions, connectCluster } from '../access/cluster-client.ts';
import { UserError } from '../report-failure.ts';
import { applyLayer, awaitLayer, readLayerFacts } from './apply-layer.ts';
import { checkLayer, shortPools } from './check-layer.ts';
import { formatLayer } from './format-layer.ts';
import { layerObjects, nodeManifest } from './layer-objects.ts';
import { type LayerVariables, readLayerVariables } from './layer-variables.ts';
import { planPools } from './plan-pools.ts';
import { EXIT_BAD_INPUT, readVarFiles } from './read-var-files.ts';

export interface LayerOptions extends ClusterOptions {
  readonly varFile?: readonly string[];
}

/** What differs from the variables, for scripts that ask. */
const EXIT_FINDINGS = 3;
/** A first reconciliation elsewhere takes half an hour. */
const DEFAULT_TIMEOUT = '30m';

/** `slipway layer render`: the layer as YAML; nodes too, where there is a cluster to choose them from. */
export async function renderLayer(options: LayerOptions & { readonly nodes: boolean }): Promise<void> {
  const variables = await readVariables(options);
  const nodes = options.nodes ? await nodesOf(options) : [];
  const plan = planPools(variables.pools, nodes);
  for (const text of options.nodes ? shortPools(plan) : []) console.error(`note: ${text}`);
  const manifests = [...plan.nodes.map(nodeManifest), ...layerObjects(variables).map(({ object }) => object)];
  process.stdout.write(manifests.map((manifest) => `---\n${toYaml(manifest)}`).join(''));
}

async function nodesOf(options: ClusterOptions): Promise<readonly Node[]> {
  return withClient(options, async (client) => (await client.list(NodeKind)).items);
}

export interface ApplyOptions extends LayerOptions {
  readonly timeout?: string;
  readonly wait: boolean;
  readonly forceConflicts?: boolean;
}

/** `slipway layer apply`: applies it and waits until the platform follows. */
export async function apply(options: ApplyOptions): Promise<void> {
  const timeoutMs = parseDuration(options.timeout ?? DEFAULT_TIMEOUT);
  if (timeoutMs === undefined || timeoutMs <= 0)
    throw new UserError(`--timeout: not a time: ${options.timeout}; for example 90s or 5m`, EXIT_BAD_INPUT);
  const variables = await readVariables(options);
  const say = (line: string): void => console.error(line);
  await withClient(options, async (client) => {
    await applyLayer(variables, { client, say, force: options.forceConflicts === true });
    if (!options.wait) return;
    const deps = { client, say, wait: (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }) };
    const missing = await awaitLayer(variables, deps, AbortSignal.timeout(timeoutMs));
    if (missing.length > 0)
      throw new UserError(
        `The layer is applied, and not ready after ${options.timeout ?? DEFAULT_TIMEOUT}:\n  ${missing.join('\n  ')}`,
      );
    console.log('The layer is ready.');
  });
}

/** `slipway layer check`: exit status 3 when something is not as the variables say. */
export async function check(options: LayerOptions & { readonly output: string }): Promise<void> {
  const variables = await readVariables(options);
  const report = await withClient(options, async (client) => checkLayer(variables, await readLayerFacts(client)));
  console.log(options.output === 'json' ? JSON.stringify(report, undefined, 2) : formatLayer(report));
  process.exitCode = report.findings.length > 0 ? EXIT_FINDINGS : 0;
}

async function readVariables({ varFile = [] }: LayerOptions): Promise<LayerVariables> {
  if (varFile.length === 0) throw new UserError('Name the file of variables: -var-file ocpvirtualization.tfvars', EXIT_BAD_INPUT);
  const read = readLayerVariables(await readVarFiles(varFile));
  if ('faults' in read) throw new UserError(`${varFile.join(', ')}:\n  ${read.faults.join('\n  ')}`, EXIT_BAD_INPUT);
  for (const warning of read.variables.warnings) console.error(`note: ${warning}`);
  return read.variables;
}

async function withClient<T>(options: ClusterOptions, act: (client: Client) => Promise<T>): Promise<T> {
  const { client } = await connectCluster(options);
  try {
    return await act(client);
  } finally {
    await client.close();
  }
}
