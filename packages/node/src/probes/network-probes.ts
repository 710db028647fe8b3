import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIPv6 } from 'node:net';
import type { HttpProbe, TcpProbe } from './probe-spec.ts';

/** What one probe found. */
export interface ProbeAnswer {
  readonly ok: boolean;
  /** For people, when it is not ok. */
  readonly message: string;
}

const PASSED: ProbeAnswer = { ok: true, message: '' };
const failed = (message: string): ProbeAnswer => ({ ok: false, message });
const MAX_REDIRECTS = 10;

/**
 * Why this target is not probed. A probe reaches the guest and nothing else: the agent would otherwise look into networks
 * of the host for whoever may write a VM.
 */
function refusal({ host, port }: HttpProbe | TcpProbe, addresses: readonly string[]): string | undefined {
  if (!Number.isInteger(port) || port < 1 || port > 65535) return 'no interface of the guest declares a port of this name';
  if (host !== undefined && !addresses.includes(host))
    return `host "${host}" is not an address of this guest, and probes reach nothing else: leave it out, and name a virtual host in the header Host`;
  return addresses.length === 0 ? 'the guest has no address on the pod network' : undefined;
}

const inUrl = (address: string): string => (isIPv6(address) ? `[${address}]` : address);

/** Whether somebody accepts a connection on the guest's port, before the signal is aborted. */
export async function probeTcp(probe: TcpProbe, addresses: readonly string[], signal: AbortSignal): Promise<ProbeAnswer> {
  const why = refusal(probe, addresses);
  if (why !== undefined) return failed(why);
  const host = probe.host ?? addresses[0] ?? '';
  const target = `dial tcp ${inUrl(host)}:${probe.port}`;
  return new Promise((resolve) => {
    const socket = connect({ host, port: probe.port });
    const done = (answer: ProbeAnswer): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(answer);
    };
    const onAbort = (): void => done(failed(`${target}: ${textOf(signal.reason)}`));
    socket.on('error', ({ message }) => done(failed(`${target}: ${message}`)));
    socket.once('connect', () => done(PASSED));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
  });
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Only the head of the answer is read; certificates are not checked, as kubelets do not. */
function get(url: URL, { headers }: HttpProbe, signal: AbortSignal): Promise<{ status: number; location: string | undefined }> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const given = Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), value]));
  const options = {
    headers: { 'user-agent': 'kube-probe/slipway', accept: '*/*', connection: 'close', ...given },
    ...{ agent: false, rejectUnauthorized: false, maxHeaderSize: 16_384, signal },
  };
  return new Promise((resolve, reject) => {
    const request = send(url, options, (response) => {
      resolve({ status: response.statusCode ?? 0, location: response.headers.location });
      request.destroy(); // nobody needs what follows
    });
    request.on('error', (error) => reject(signal.aborted ? signal.reason : error));
    request.end();
  });
}

/** Whether the guest answers a GET with a status of 200 to 399 before the signal is aborted; redirects to itself are followed. */
export async function probeHttp(probe: HttpProbe, addresses: readonly string[], signal: AbortSignal): Promise<ProbeAnswer> {
  const why = refusal(probe, addresses);
  if (why !== undefined) return failed(why);
  const { scheme, port, path } = probe;
  const base = `${scheme}://${inUrl(probe.host ?? addresses[0] ?? '')}:${port}`;
  let at = base;
  try {
    let url = new URL(`${base}${path.startsWith('/') ? path : `/${path}`}`);
    const { hostname } = url;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      at = url.href;
      const { status, location } = await get(url, probe, signal);
      if (status < 200 || status >= 400) return failed(`HTTP probe failed with statuscode: ${status}`);
      if (status < 300 || location === undefined) return PASSED;
      url = new URL(location, url);
      // a redirect to somebody else is an answer, and is not followed
      if (url.hostname !== hostname) return PASSED;
    }
    return failed(`Get "${base}": stopped after ${MAX_REDIRECTS} redirects`);
  } catch (error) {
    return failed(`Get "${at}": ${textOf(error)}`);
  }
}
