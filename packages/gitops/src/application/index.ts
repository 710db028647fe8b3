import { randomBytes } from 'node:crypto';
import { type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { DataVolumeKind, VirtualMachineKind } from '@slipway/api';
import { discoverKinds } from '@slipway/client';
import type { CommandRunner } from '@slipway/hostapi';
import { type ControllerRegistration, type InformerEvent, watchOf } from '@slipway/runtime';
import { Annotation, type Application, ApplicationKind, GITOPS_NAMESPACES } from '../kinds.ts';
import { gitRepositories } from '../sources/git.ts';
import { ApplicationReconciler } from './reconciler.ts';

export interface GitOpsParts {
  readonly runner: CommandRunner;
  /** Checked-out repositories are kept below this directory, which is made when it is needed. */
  readonly cacheDir: string;
}

const KINDS_MS = 60_000;

/** The controller of Applications. It does nothing while there is none. */
export function gitOpsController({ runner, cacheDir }: GitOpsParts): ControllerRegistration {
  return {
    name: 'gitops-controller',
    // an application may hold objects of any kind; who may write applications is decided by their namespace
    rules: [
      {
        apiGroups: ['*'],
        resources: ['*'],
        verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'bind', 'escalate'],
      },
    ],
    create(deps) {
      const { client, clock, log, events, random } = deps;
      let known: { readonly at: number; readonly kinds: Promise<readonly ResourceKind<KubeObject>[]> } | undefined;
      const kinds = (): Promise<readonly ResourceKind<KubeObject>[]> => {
        if (known === undefined || clock.now() - known.at > KINDS_MS) known = { at: clock.now(), kinds: discoverKinds(client) };
        return known.kinds;
      };
      const git = gitRepositories({ runner, cacheDir });
      return {
        kind: ApplicationKind,
        predicate: (event) => isWorthwhile(event as InformerEvent<Application>),
        watches: [watchOf(VirtualMachineKind, appsOf), watchOf(DataVolumeKind, appsOf)],
        concurrency: 2,
        reconciler: new ApplicationReconciler({
          client,
          clock,
          log,
          events,
          random,
          git,
          runner,
          kinds,
          now: () => clock.now(),
          randomBytes,
        }),
      };
    },
  };
}

/** What the controller writes itself is no reason to look again. */
function isWorthwhile(event: InformerEvent<Application>): boolean {
  if (event.type !== 'updated') return true;
  const shown = ({ spec, operation, metadata }: Application): string =>
    JSON.stringify([
      spec,
      operation,
      metadata.deletionTimestamp,
      metadata.finalizers,
      metadata.annotations?.[Annotation.refresh],
      metadata.annotations?.[Annotation.skipReconcile],
    ]);
  return shown(event.old) !== shown(event.object);
}

/** The application whose mark an object carries, wherever applications may be. */
function appsOf({ metadata }: KubeObject): readonly ObjectKey[] {
  const name = metadata.annotations?.[Annotation.tracking]?.split(':')[0];
  return name === undefined ? [] : [...GITOPS_NAMESPACES].map((namespace) => ({ namespace, name }));
}
