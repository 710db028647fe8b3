import type { AuditEvent } from './server-context.ts';

/** Answers that only a resource that exists can give; for all others the path is what a stranger made up. */
const isOfKnownResource = (code: number): boolean => code < 400 || code === 409 || code === 422;

/** Counts of all requests since the start, as `GET /metrics` shows them. Every label has few values. */
export class RequestMetrics {
  private readonly counts = new Map<string, number>();

  count(event: AuditEvent): void {
    const labels = labelsOf(event);
    this.counts.set(labels, (this.counts.get(labels) ?? 0) + 1);
  }

  /** Prometheus' text format. */
  render(): string {
    const lines = [...this.counts].map(([labels, count]) => `apiserver_request_total{${labels}} ${count}\n`).sort();
    const help = '# HELP apiserver_request_total Requests by verb, resource, code and client.\n';
    return `${help}# TYPE apiserver_request_total counter\n${lines.join('')}`;
  }
}

function labelsOf(event: AuditEvent): string {
  const { group, resource, subresource } = isOfKnownResource(event.code) ? targetOf(event.path) : UNKNOWN;
  return `client="${clientOf(event)}",code="${event.code}",group="${group}",resource="${resource}",subresource="${subresource}",verb="${event.verb}"`;
}

/** A controller's name, `node` for the agents, `other` for everybody else. */
function clientOf({ sourceAddress, user, userAgent }: AuditEvent): string {
  if (sourceAddress === 'in-process') return userAgent;
  return user.startsWith('system:node:') ? 'node' : 'other';
}

const UNKNOWN = { group: '', resource: '', subresource: '' };

function targetOf(path: string): typeof UNKNOWN {
  const segments = path.split('/');
  const isCore = segments[1] === 'api';
  if (!isCore && segments[1] !== 'apis') return UNKNOWN;
  const group = isCore ? '' : (segments[2] ?? '');
  let rest = segments.slice(isCore ? 3 : 4);
  if (rest[0] === 'watch') rest = rest.slice(1);
  if (rest[0] === 'namespaces' && rest.length > 2) rest = rest.slice(2);
  return { group, resource: rest[0] ?? '', subresource: rest[2] ?? '' };
}
