import { randomBytes } from 'node:crypto';
import { type KubeObject, keyOf, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { DataVolumeKind, VirtualMachineKind } from '@slipway/api';
import { type Client, discoverKinds } from '@slipway/client';
import type { CommandRunner } from '@slipway/hostapi';
import { type AggregatedApi, type ControllerRegistration, type InformerEvent, type OpenRoute, watchOf } from '@slipway/runtime';
import {
  Annotation,
  type Application,
  ApplicationKind,
  type AppProject,
  AppProjectKind,
  DEFAULT_PROJECT,
  GITOPS_NAMESPACES,
} from '../kinds.ts';
import { chartRepositories } from '../sources/chart-repositories.ts';
import { gitRepositories } from '../sources/git.ts';
import type { SourceReach } from '../sources/reach.ts';
import { repositories } from '../sources/repositories.ts';
import { defaultProjectController } from './default-project.ts';
import { managedResourcesApi, type ManagedResourcesDeps } from './managed-resources.ts';
import { ApplicationReconciler } from './reconciler.ts';
import { webhookRoute } from './webhook.ts';

export interface GitOpsParts {
  readonly runner: CommandRunner;
  /** Checked-out repositories are kept below this directory, which is made when it is needed. */
  readonly cacheDir: string;
  /** What of this machine sources may reach; nothing when absent. */
  readonly reach?: SourceReach;
}

/** Applications: their controllers, and what the API server answers about them. */
export interface GitOps {
  readonly registrations: readonly ControllerRegistration[];
  readonly api: AggregatedApi;
  /** Outside of the API: git servers have no account. */
  readonly webhook: OpenRoute;
}

const KINDS_MS = 60_000;

/** The parts work together as soon as the controllers run. */
export function gitOps(parts: GitOpsParts): GitOps {
  const late: LateParts = {};
  return {
    registrations: [applicationController(parts, late), defaultProjectController],
    api: managedResourcesApi(() => late.resources),
    webhook: webhookRoute(() => late.client),
  };
}

interface LateParts {
  client?: Client;
  resources?: ManagedResourcesDeps;
}

/** The controller of Applications. It does nothing while there is none. */
function applicationController({ runner, cacheDir, reach }: GitOpsParts, late: LateParts): ControllerRegistration {
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
      const { client, clock, log, events, random, informers } = deps;
      let known: { readonly at: number; readonly kinds: Promise<readonly ResourceKind<KubeObject>[]> } | undefined;
      const kinds = (): Promise<readonly ResourceKind<KubeObject>[]> => {
        if (known === undefined || clock.now() - known.at > KINDS_MS) known = { at: clock.now(), kinds: discoverKinds(client) };
        return known.kinds;
      };
      const place = { cacheDir, ...(reach && { reach }) };
      const sources = repositories(gitRepositories({ runner, ...place }), chartRepositories(place));
      const now = (): number => clock.now();
      const reconciler = new ApplicationReconciler({
        ...{ client, clock, log, events, random, repositories: sources, runner, kinds, now, randomBytes },
      });
      late.client = client;
      late.resources = {
        read: (namespace, name, signal) => client.get(ApplicationKind, { namespace, name }, { signal }),
        differences: (app, revisions, signal) => reconciler.differences(app, revisions, signal),
      };
      const apps = informers.lister(ApplicationKind);
      return {
        kind: ApplicationKind,
        predicate: (event) => isWorthwhile(event as InformerEvent<Application>),
        watches: [
          watchOf(VirtualMachineKind, appsOf),
          watchOf(DataVolumeKind, appsOf),
          watchOf(AppProjectKind, (project) => appsOfProject(apps.list(project.metadata.namespace), project)),
        ],
        concurrency: 2,
        reconciler,
      };
    },
  };
}

const appsOfProject = (apps: readonly Application[], { metadata }: AppProject): readonly ObjectKey[] =>
  apps.filter(({ spec }) => (spec.project || DEFAULT_PROJECT) === metadata.name).map((app) => keyOf(app));

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
