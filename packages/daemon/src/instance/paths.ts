import { join } from 'node:path';

/** Where everything of one installation lives. Nothing is kept outside the data directory but host network objects. */
export interface InstancePaths {
  readonly dataDir: string;
  readonly config: string;
  readonly run: string;
  readonly logs: string;
  readonly server: string;
  readonly pki: string;
  readonly adminKubeconfig: string;
  node(name: string): NodePaths;
}

export interface NodePaths {
  readonly stateDir: string;
  readonly kubeconfig: string;
}

export function instancePaths(dataDir: string): InstancePaths {
  return {
    dataDir,
    config: join(dataDir, 'instance.json'),
    run: join(dataDir, 'run'),
    logs: join(dataDir, 'logs'),
    server: join(dataDir, 'server'),
    pki: join(dataDir, 'server', 'pki'),
    adminKubeconfig: join(dataDir, 'admin.kubeconfig'),
    node: (name) => ({
      stateDir: join(dataDir, 'nodes', name),
      kubeconfig: join(dataDir, 'nodes', name, 'agent.kubeconfig'),
    }),
  };
}

/** JSON log of a component; each process can write its own directory only. */
export function logFile(paths: InstancePaths, component: string): string {
  return component === 'server' ? join(paths.server, 'server.log') : join(paths.node(component).stateDir, 'agent.log');
}
