/** The parts of a pod that the security levels look at. */
export interface SecurityContext {
  privileged?: boolean;
  procMount?: string;
  allowPrivilegeEscalation?: boolean;
  runAsNonRoot?: boolean;
  runAsUser?: number;
  capabilities?: { add?: string[]; drop?: string[] };
  seLinuxOptions?: { type?: string; user?: string; role?: string };
  seccompProfile?: { type?: string };
  windowsOptions?: { hostProcess?: boolean };
  sysctls?: { name: string }[];
}

export interface SecuredContainer {
  name: string;
  securityContext?: SecurityContext;
  ports?: { hostPort?: number }[];
}

export interface SecuredPod {
  annotations: Readonly<Record<string, string>>;
  spec: {
    hostNetwork?: boolean;
    hostPID?: boolean;
    hostIPC?: boolean;
    os?: { name?: string };
    securityContext?: SecurityContext;
    containers?: SecuredContainer[];
    initContainers?: SecuredContainer[];
    ephemeralContainers?: SecuredContainer[];
    volumes?: ({ name: string } & Record<string, unknown>)[];
  };
}

/** Every container in the order in which findings name them. */
export const containersOf = ({ spec }: SecuredPod): SecuredContainer[] => [
  ...(spec.initContainers ?? []),
  ...(spec.containers ?? []),
  ...(spec.ephemeralContainers ?? []),
];

/** What a level found: `reason (detail)` in messages. */
export interface SecurityFinding {
  readonly reason: string;
  readonly detail: string;
}

export const quoted = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(', ');
export const plural = (count: number, one: string, many: string): string => (count === 1 ? one : many);
/** `container "a"` or `containers "a", "b"`. */
export const namedContainers = (names: readonly string[]): string =>
  `${plural(names.length, 'container', 'containers')} ${quoted(names)}`;
