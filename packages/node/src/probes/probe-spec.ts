import type { core, kubevirt, Pod, VirtualMachineInstance } from '@slipway/api';

export type ProbeKind = 'readiness' | 'liveness';

export interface HttpProbe {
  readonly type: 'httpGet';
  readonly scheme: 'http' | 'https';
  readonly port: number;
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  /** Asked for, when it is not the pod. */
  readonly host?: string;
}

export interface TcpProbe {
  readonly type: 'tcpSocket';
  readonly port: number;
  readonly host?: string;
}

/** A probe that the guest's agent answers. */
export type AgentProbe =
  | { readonly type: 'guestAgentPing' }
  | { readonly type: 'exec'; readonly command: string; readonly args: readonly string[] };

export type ProbeHandler = HttpProbe | TcpProbe | AgentProbe;

/** One probe of a guest with every default filled in. */
export interface ProbeSpec {
  readonly kind: ProbeKind;
  readonly handler: ProbeHandler;
  /** From the start of the pod. */
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  /** Answers of one sort in a row that change the verdict. */
  readonly successThreshold: number;
  readonly failureThreshold: number;
}

type Container = NonNullable<Pod['spec']>['containers'][number];

/** A number, or the name of a port that an interface of the guest declares; NaN for a name that nobody declares. */
function portOf(port: number | string, container: Container): number {
  if (typeof port === 'number') return port;
  const named = container.ports?.find(({ name }) => name === port)?.containerPort;
  return named ?? (/^\d+$/.test(port) ? Number(port) : Number.NaN);
}

const otherHost = (host: string | undefined): { host?: string } => (host ? { host } : {});

function handlerOf(probe: kubevirt.Probe, container: Container): ProbeHandler | undefined {
  const { httpGet, tcpSocket, exec, guestAgentPing } = probe;
  if (httpGet) {
    const { scheme, path, httpHeaders, port, host } = httpGet;
    return {
      type: 'httpGet',
      scheme: scheme === 'HTTPS' ? 'https' : 'http',
      ...{ path: path || '/', headers: httpHeaders ?? [], port: portOf(port, container), ...otherHost(host) },
    };
  }
  if (tcpSocket) return { type: 'tcpSocket', port: portOf(tcpSocket.port, container), ...otherHost(tcpSocket.host) };
  if (exec) {
    const [command = '', ...args] = exec.command ?? [];
    return { type: 'exec', command, args };
  }
  return guestAgentPing ? { type: 'guestAgentPing' } : undefined;
}

const seconds = (value: number | undefined, whenUnset: number): number => (value || whenUnset) * 1000;

function specOf(
  kind: ProbeKind,
  probe: kubevirt.Probe | undefined,
  written: core.Probe | undefined,
  container: Container,
): readonly ProbeSpec[] {
  const handler = probe && handlerOf(probe, container);
  if (probe === undefined || handler === undefined) return [];
  return [
    {
      ...{ kind, handler },
      // the pod says when its probes begin, as it does to a kubelet
      initialDelayMs: (written?.initialDelaySeconds ?? probe.initialDelaySeconds ?? 0) * 1000,
      periodMs: seconds(probe.periodSeconds, 10),
      timeoutMs: seconds(probe.timeoutSeconds, 1),
      successThreshold: probe.successThreshold || 1,
      failureThreshold: probe.failureThreshold || 3,
    },
  ];
}

/** The probes of an instance, none for most. Pure. */
export function planProbes({ spec }: VirtualMachineInstance, pod: Pod): readonly ProbeSpec[] {
  const container = pod.spec?.containers[0];
  if (container === undefined) return [];
  return [
    ...specOf('readiness', spec.readinessProbe, container.readinessProbe, container),
    ...specOf('liveness', spec.livenessProbe, container.livenessProbe, container),
  ];
}
