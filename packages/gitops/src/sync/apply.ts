import { isObject, type JsonObject, type KubeObject } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { annotationsOf } from '@slipway/helm';
import { comparable } from '../compare/normalize.ts';
import { type Compared, predictedOf } from '../compare/resources.ts';
import { mergePatch } from '../compare/three-way.ts';
import { Annotation } from '../kinds.ts';

export interface ApplyOptions {
  readonly options: ReadonlySet<string>;
  readonly dryRun: boolean;
  readonly force: boolean;
  /** Fields that are not to be changed, because their differences are ignored. */
  readonly keep: (object: JsonObject) => JsonObject;
}

const MANAGER = 'argocd-controller';

/** Sync options of the application and of the manifest itself. */
export function optionsOf(target: JsonObject, application: ReadonlySet<string>): ReadonlySet<string> {
  const own = (annotationsOf(target)[Annotation.syncOptions] ?? '').split(',').map((option) => option.trim());
  return new Set([...application, ...own]);
}

/** Brings one object to its manifest; the message is what kubectl would say. */
export async function applyOne(
  client: Client,
  { kind, namespace, name, target, live }: Compared,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<string> {
  if (target === undefined) return '';
  const text = `${kind.plural.replace(/s$/, '')}${kind.group && `.${kind.group}`}/${name}`;
  const write = { dryRun: options.dryRun, fieldManager: MANAGER, signal };
  const key = { namespace: kind.namespaced ? namespace : '', name };
  const chosen = optionsOf(target, options.options);
  if (chosen.has('ServerSideApply=true')) {
    await client.patch(kind, key, target, { ...write, type: 'apply', force: true });
    return `${text} serverside-applied`;
  }
  const applied = withLastApplied(target);
  if (live === undefined) {
    // a manifest of this kind
    await client.create(kind, applied as unknown as KubeObject, write);
    return `${text} created`;
  }
  if (chosen.has('Replace=true'))
    return replace(
      client,
      { kind, namespace, name, live, target },
      { ...options, force: options.force || chosen.has('Force=true') },
      signal,
    );
  const before = live as unknown as JsonObject;
  const after = predictedOf(live, applied);
  const patch = mergePatch(options.keep(comparable(before)), options.keep(comparable(after)));
  const annotations = { [Annotation.lastApplied]: annotationsOf(applied)[Annotation.lastApplied] };
  if (patch === undefined && live.metadata.annotations?.[Annotation.lastApplied] === annotations[Annotation.lastApplied])
    return `${text} unchanged`;
  const metadata = isObject(patch?.['metadata']) ? patch['metadata'] : {};
  const marked = {
    ...patch,
    metadata: {
      ...metadata,
      annotations: { ...(isObject(metadata['annotations']) ? metadata['annotations'] : {}), ...annotations },
    },
  };
  await client.patch(kind, key, marked, { ...write, type: 'merge' });
  return patch === undefined ? `${text} unchanged` : `${text} configured`;
}

async function replace(
  client: Client,
  { kind, namespace, name, live, target = {} }: Compared,
  options: ApplyOptions,
  signal: AbortSignal,
): Promise<string> {
  const write = { dryRun: options.dryRun, fieldManager: MANAGER, signal };
  const metadata = isObject(target['metadata']) ? target['metadata'] : {};
  if (options.force) {
    await client.delete(
      kind,
      { namespace: kind.namespaced ? namespace : '', name },
      { signal, propagationPolicy: 'Background', dryRun: options.dryRun },
    );
    await client.create(kind, target as unknown as KubeObject, write);
  } else {
    const object = { ...target, metadata: { ...metadata, resourceVersion: live?.metadata.resourceVersion } };
    await client.update(kind, object as unknown as KubeObject, write);
  }
  return `${kind.plural.replace(/s$/, '')}${kind.group && `.${kind.group}`}/${name} replaced`;
}

/** As kubectl records what it applies. */
function withLastApplied(target: JsonObject): JsonObject {
  const metadata = isObject(target['metadata']) ? target['metadata'] : {};
  const annotations = isObject(metadata['annotations']) ? metadata['annotations'] : {};
  return {
    ...target,
    metadata: { ...metadata, annotations: { ...annotations, [Annotation.lastApplied]: `${JSON.stringify(target)}\n` } },
  };
}
