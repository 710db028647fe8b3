import { join } from 'node:path';
import { fenceDirectory, nodeNamespace, WATCHDOG_PROGRAM } from '@slipway/node';
import type { InstanceConfig, NodeInstance } from '../instance/instance-config.ts';
import type { InstancePaths } from '../instance/paths.ts';
import type { ComponentSpec } from './component.ts';
import nodeFlags from './node-flags.json' with { type: 'json' };
import { buildOf, type ProgramFiles } from './program-files.ts';

export const SERVER = 'server';

/** Nothing of the caller's environment reaches the platform. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C.UTF-8',
  HOME: '/nonexistent',
};

/** A small young generation: the platform idles most of its life (promise S6). The build compiles programs for them. */
const NODE_FLAGS: readonly string[] = nodeFlags;

/** What `up` tells a node agent beside the installation itself. */
export interface NodeSettings {
  /** Networks that image imports may reach although they are refused by default. */
  readonly allowedImportAddresses: readonly string[];
  /** Which build of the agent this is; its Node says so. */
  readonly build?: string;
}

const program = ({ bundles }: Pick<ProgramFiles, 'bundles'>, name: string): string[] =>
  ['start.cjs', `${name}.program`].map((file) => join(bundles, file));

/** The command of the server process. */
export const serverArgv = (paths: InstancePaths, files: Omit<ProgramFiles, 'builds'>): [string, ...string[]] => [
  files.node,
  ...NODE_FLAGS,
  ...program(files, SERVER),
  paths.dataDir,
];

export function serverSpec(config: InstanceConfig, paths: InstancePaths, files: ProgramFiles): ComponentSpec {
  return {
    name: SERVER,
    argv: serverArgv(paths, files),
    logFile: join(paths.logs, 'server.out'),
    cwd: paths.server,
    env: ENVIRONMENT,
    uid: config.serverUid,
    build: files.builds.server,
  };
}

export function nodeSpec(node: NodeInstance, paths: InstancePaths, files: ProgramFiles, settings: NodeSettings): ComponentSpec {
  const build = files.builds.node;
  const agent = [
    ...[...NODE_FLAGS, ...program(files, 'node'), paths.dataDir, node.name],
    JSON.stringify({ ...settings, build } satisfies NodeSettings),
  ];
  return {
    name: node.name,
    // nsenter becomes the agent
    argv:
      node.linkIndex === undefined
        ? [files.node, ...agent]
        : ['nsenter', `--net=/run/netns/${nodeNamespace(node)}`, files.node, ...agent],
    logFile: join(paths.logs, `${node.name}.out`),
    cwd: paths.node(node.name).stateDir,
    env: ENVIRONMENT,
    // an agent that is told something else is started again as one of another build is
    build: settings.allowedImportAddresses.length === 0 ? build : buildOf([build, ...settings.allowedImportAddresses]),
  };
}

/** Name of what ends a node's guests when the node is lost. */
export const watchdogName = ({ name }: Pick<NodeInstance, 'name'>): string => `${name}.watchdog`;

export function watchdogSpec(node: NodeInstance, paths: InstancePaths): ComponentSpec {
  const { stateDir } = paths.node(node.name);
  return {
    name: watchdogName(node),
    argv: ['perl', '-e', WATCHDOG_PROGRAM, fenceDirectory(stateDir)],
    logFile: join(paths.logs, `${node.name}.out`),
    cwd: stateDir,
    env: ENVIRONMENT,
    build: buildOf([WATCHDOG_PROGRAM]),
  };
}
