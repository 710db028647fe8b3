import { request as httpsRequest } from 'node:https';
import type { Registry } from '../../registry/registry.ts';
import { type ServiceReference, type WebhookTarget, resolveTarget } from './webhook-target.ts';

/** `clientConfig` of webhooks, for admission and conversion alike. */
export interface WebhookClientConfig {
  readonly url?: string;
  readonly service?: ServiceReference;
  /** Base64 of PEM certificates. */
  readonly caBundle?: string;
}

export interface WebhookCall {
  readonly config: WebhookClientConfig;
  readonly body: unknown;
  readonly timeoutMs: number;
}

/** Answers larger than this are refused: a webhook is somebody else's program. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

interface RawAnswer {
  readonly status: number;
  readonly text: string;
}

/** Posts a review and resolves with the parsed answer. Rejects with an Error whose message clients are shown. */
export async function callWebhook(registry: Registry, call: WebhookCall): Promise<unknown> {
  const target = resolveTarget(registry, call.config, Math.ceil(call.timeoutMs / 1000));
  let answer: RawAnswer;
  try {
    answer = await post(target, call);
  } catch (error) {
    throw new Error(`failed to call webhook: Post ${JSON.stringify(target.url)}: ${transportText(error)}`, { cause: error });
  }
  if (answer.status < 200 || answer.status > 299) {
    throw new Error(`failed to call webhook: ${refusalText(answer)}`);
  }
  try {
    return JSON.parse(answer.text);
  } catch (error) {
    throw new Error(`failed to call webhook: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function refusalText({ status, text }: RawAnswer): string {
  if (status >= 500) return `an error on the server (${JSON.stringify(text.trim())}) has prevented the request from succeeding`;
  if (status === 404) return 'the server could not find the requested resource';
  return `the server rejected our request for an unknown reason`;
}

function transportText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'context deadline exceeded';
  if (code === 'ECONNREFUSED') return `dial tcp ${address}:${port}: connect: connection refused`;
  return error.message;
}

function post(target: WebhookTarget, { body, timeoutMs }: WebhookCall): Promise<RawAnswer> {
  const text = JSON.stringify(body);
  const deadline = AbortSignal.timeout(timeoutMs);
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(
      target.url,
      {
        method: 'POST',
        agent: false,
        signal: deadline,
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, */*',
          'content-length': Buffer.byteLength(text),
        },
        ...(target.ca !== undefined && { ca: target.ca }),
        ...(target.address !== undefined && { lookup: fixedLookup(target.address) }),
        ...(target.port !== undefined && { port: target.port }),
        ...(target.serverName !== undefined && { servername: target.serverName }),
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        let size = 0;
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) incoming.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        incoming.on('error', reject);
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 500, text: Buffer.concat(chunks).toString('utf8') }));
      },
    );
    outgoing.on('error', (error) => reject(deadline.aborted && deadline.reason instanceof Error ? deadline.reason : error));
    outgoing.end(text);
  });
}

type LookupCallback = (error: null, address: string | { address: string; family: number }[], family?: number) => void;

/** The address of a Service is known without asking a name server. */
function fixedLookup(address: string) {
  const family = address.includes(':') ? 6 : 4;
  return (_host: string, options: { all?: boolean | undefined }, callback: LookupCallback): void => {
    if (options.all === true) callback(null, [{ address, family }]);
    else callback(null, address, family);
  };
}
