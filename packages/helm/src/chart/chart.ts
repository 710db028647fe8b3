import type { GoMap } from '../template/values.ts';

/** A file of a chart; the path is relative to the chart. */
export interface ChartFile {
  readonly path: string;
  readonly data: Uint8Array;
}

export interface Dependency {
  readonly name: string;
  readonly version?: string;
  readonly repository?: string;
  readonly condition?: string;
  readonly tags?: readonly string[];
  readonly alias?: string;
  readonly importValues?: readonly (string | { readonly child: string; readonly parent: string })[];
}

/** Chart.yaml as it is written, with the fields that the engine needs. */
export interface ChartMetadata {
  readonly name: string;
  readonly version: string;
  readonly type: 'application' | 'library';
  readonly kubeVersion?: string;
  readonly dependencies: readonly Dependency[];
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Chart {
  readonly metadata: ChartMetadata;
  /** Name in the tree: that of the chart or its alias. */
  readonly name: string;
  readonly values: GoMap;
  readonly schema?: unknown;
  readonly templates: readonly ChartFile[];
  readonly files: readonly ChartFile[];
  readonly dependencies: readonly Chart[];
}

/** A chart that cannot be read or rendered; the message says where. */
export class ChartError extends Error {}

/** Charts that a chart depends on, that are switched on, and that it does not hold. */
export class MissingDependencies extends ChartError {
  readonly dependencies: readonly Dependency[];

  constructor(dependencies: readonly Dependency[]) {
    super(`found in Chart.yaml, but missing in charts/ directory: ${dependencies.map(({ name }) => name).join(', ')}`);
    this.dependencies = dependencies;
  }
}

export const textOfFile = ({ data }: ChartFile): string => new TextDecoder().decode(data).replace(/^\ufeff/, '');
