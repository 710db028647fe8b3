import {
  type FieldError,
  type UnstructuredObject,
  checkDns1123Subdomain,
  forbiddenField,
  invalidValue,
  requiredValue,
} from '@slipway/apimachinery';
import { selectorText } from '../apps/workload.ts';
import { oneOf } from '../core/pod-validation.ts';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';
import { type NetworkPolicySpec, validateNetworkPolicy } from './network-policy-validation.ts';

interface NetworkPolicy {
  spec?: NetworkPolicySpec;
}

const networkPolicyKind: BuiltinKind = {
  group: 'networking.k8s.io',
  kind: 'NetworkPolicy',
  plural: 'networkpolicies',
  definition: 'networking.v1.NetworkPolicy',
  shortNames: ['netpol'],
  status: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      const policy = typed<NetworkPolicy>(object);
      object['status'] ??= {};
      const spec = (policy.spec ??= {});
      spec.podSelector ??= {};
      for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
        for (const port of rule.ports ?? []) port.protocol ??= 'TCP';
      }
      spec.policyTypes ??= spec.egress === undefined ? ['Ingress'] : ['Ingress', 'Egress'];
    },
    validate: (object) => validateNetworkPolicy(typed<NetworkPolicy>(object).spec ?? {}),
  },
  columns: [
    nameColumn,
    column('Pod-Selector', (object) => selectorText(typed<NetworkPolicy>(object).spec?.podSelector)),
    ageColumn,
  ],
};

interface IngressPath {
  path?: string;
  pathType?: string;
  backend?: { service?: { name?: string } };
}
interface Ingress {
  spec?: {
    ingressClassName?: string;
    defaultBackend?: unknown;
    tls?: unknown[];
    rules?: { host?: string; http?: { paths?: IngressPath[] } }[];
  };
  status?: { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } };
}

const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];
const WILDCARD =
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

function validateIngress({ spec }: Ingress): FieldError[] {
  const rules = spec?.rules ?? [];
  if (rules.length === 0 && spec?.defaultBackend === undefined) {
    const detail = 'Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified';
    return [{ type: 'Invalid', path: 'spec', detail }];
  }
  return rules.flatMap(({ host, http }, index) => {
    const path = `spec.rules[${index}]`;
    return [
      ...validateHost(host, `${path}.host`),
      ...(http?.paths ?? []).flatMap((entry, at) => validatePath(entry, `${path}.http.paths[${at}]`)),
    ];
  });
}

function validateHost(host: string | undefined, path: string): FieldError[] {
  if (!host) return [];
  if (!host.includes('*')) return checkDns1123Subdomain(host).map((text) => invalidValue(path, host, text));
  const isWildcard = host.startsWith('*.') && checkDns1123Subdomain(host.slice(2)).length === 0;
  return isWildcard ? [] : [invalidValue(path, host, WILDCARD)];
}

function validatePath({ path, pathType }: IngressPath, place: string): FieldError[] {
  if (pathType === undefined) return [requiredValue(`${place}.pathType`, 'pathType must be specified')];
  const errors: FieldError[] = [];
  if (!PATH_TYPES.includes(pathType)) {
    const supported = PATH_TYPES.map((type) => JSON.stringify(type)).join(', ');
    errors.push({
      type: 'NotSupported',
      path: `${place}.pathType`,
      detail: `Unsupported value: ${JSON.stringify(pathType)}: supported values: ${supported}`,
    });
  }
  if (pathType !== 'ImplementationSpecific' && !path?.startsWith('/')) {
    errors.push(invalidValue(`${place}.path`, path ?? '', 'must be an absolute path'));
  }
  return errors;
}

function hostsText({ spec }: Ingress): string {
  const hosts = (spec?.rules ?? []).map(({ host }) => host).filter(Boolean);
  return hosts.length === 0 ? '*' : hosts.join(',');
}

const ingressKind: BuiltinKind = {
  group: 'networking.k8s.io',
  kind: 'Ingress',
  plural: 'ingresses',
  definition: 'networking.v1.Ingress',
  errorGroup: 'extensions',
  shortNames: ['ing'],
  status: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      typed<Ingress>(object).status ??= { loadBalancer: {} };
    },
    validate: (object) => validateIngress(typed<Ingress>(object)),
  },
  columns: [
    nameColumn,
    column('Class', (object) => typed<Ingress>(object).spec?.ingressClassName ?? '<none>'),
    column('Hosts', (object) => hostsText(typed<Ingress>(object))),
    column('Address', (object) =>
      (typed<Ingress>(object).status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname).join(','),
    ),
    column('Ports', (object) => (typed<Ingress>(object).spec?.tls ? '80, 443' : '80')),
    ageColumn,
  ],
};

interface IngressClass {
  spec?: {
    controller?: string;
    parameters?: { kind?: string; name?: string; apiGroup?: string; scope?: string; namespace?: string };
  };
}

function validateIngressClass(object: UnstructuredObject): FieldError[] {
  const { controller = '', parameters } = typed<IngressClass>(object).spec ?? {};
  const errors: FieldError[] = [];
  if (controller === '') errors.push(requiredValue('spec.controller'));
  if (parameters === undefined) return errors;
  if (!parameters.kind) errors.push(requiredValue('spec.parameters.kind', 'kind is required'));
  if (!parameters.name) errors.push(requiredValue('spec.parameters.name', 'name is required'));
  oneOf(parameters.scope, ['Cluster', 'Namespace'], 'spec.parameters.scope', errors);
  if (parameters.scope === 'Namespace' && !parameters.namespace) {
    errors.push(requiredValue('spec.parameters.namespace', "`parameters.scope` is set to 'Namespace'"));
  }
  if (parameters.scope === 'Cluster' && parameters.namespace !== undefined) {
    errors.push(forbiddenField('spec.parameters.namespace', "`parameters.scope` is set to 'Cluster'"));
  }
  return errors;
}

const ingressClassKind: BuiltinKind = {
  group: 'networking.k8s.io',
  kind: 'IngressClass',
  plural: 'ingressclasses',
  definition: 'networking.v1.IngressClass',
  cluster: true,
  strategy: {
    hasGeneration: true,
    default(object) {
      const parameters = typed<IngressClass>(object).spec?.parameters;
      if (parameters !== undefined) parameters.scope ??= 'Cluster';
    },
    validate: validateIngressClass,
    validateUpdate(next, old) {
      const [after, before] = [typed<IngressClass>(next).spec?.controller, typed<IngressClass>(old).spec?.controller];
      return after === before ? [] : [invalidValue('spec.controller', after, 'field is immutable')];
    },
  },
  columns: [
    nameColumn,
    column('Controller', (object) => typed<IngressClass>(object).spec?.controller ?? ''),
    column('Parameters', (object) => {
      const parameters = typed<IngressClass>(object).spec?.parameters;
      if (parameters === undefined) return '<none>';
      return `${parameters.kind}${parameters.apiGroup ? `.${parameters.apiGroup}` : ''}/${parameters.name}`;
    }),
    ageColumn,
  ],
};

export const networkingKinds: readonly BuiltinKind[] = [networkPolicyKind, ingressKind, ingressClassKind];
