import type { Case, Step } from './case.ts';
import { differences, fillIn, valueAt } from './match.ts';
import type { Answer, World } from './world.ts';

const EVENTUALLY_MS = 10_000;
const PAUSE_MS = 50;

/** Plays a case in a namespace of its own. Resolves with what was not as expected, one line each. */
export async function runCase(world: World, { steps }: Case, namespace: string): Promise<string[]> {
  const variables = new Map([['ns', namespace], ...Object.entries(world.variables)]);
  await world.ask({
    method: 'POST',
    path: '/api/v1/namespaces',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ metadata: { name: namespace } }),
  });
  for (const [index, step] of steps.entries()) {
    const complaints = await play(world, step, variables);
    if (complaints.length > 0) return complaints.map((text) => `step ${index + 1}, ${step.request}: ${text}`);
  }
  return [];
}

async function play(world: World, step: Step, variables: Map<string, string>): Promise<string[]> {
  const until = Date.now() + EVENTUALLY_MS;
  for (;;) {
    const answer = await ask(world, step, variables);
    const value = parsed(answer);
    const complaints = judge(fillIn(step.expect, variables), answer, value);
    if (complaints.length === 0) {
      for (const [name, path] of Object.entries(step.capture ?? {})) variables.set(name, String(valueAt(value, path)));
      return [];
    }
    if (step.eventually !== true || Date.now() > until) return [...complaints, `the answer was ${answer.text.slice(0, 600)}`];
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

function ask(world: World, step: Step, variables: ReadonlyMap<string, string>): Promise<Answer> {
  const [method = 'GET', path = '/'] = fillIn(step.request as string, variables).split(' ');
  const body = fillIn(step.body, variables);
  return world.ask({
    method,
    path,
    headers: {
      accept: step.accept ?? 'application/json',
      ...(body !== undefined && { 'content-type': step.type ?? 'application/json' }),
      ...fillIn(step.headers ?? {}, variables),
    },
    body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
  });
}

function parsed({ headers, text }: Answer): unknown {
  if (!(headers['content-type'] ?? '').includes('json')) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text; // a stream of several documents
  }
}

/** A Status tells what is wrong in its message; anything else is searched whole. */
function messageOf(value: unknown, text: string): string {
  const message = valueAt(value, 'message');
  return typeof message === 'string' ? message : text;
}

function faultsOf(value: unknown): string[] {
  const causes = valueAt(value, 'details.causes');
  const fields = Array.isArray(causes) ? causes.map((cause: unknown) => String(valueAt(cause, 'field'))) : [];
  return [...new Set(fields)].sort();
}

function judge(expected: Step['expect'], { status, headers, text }: Answer, value: unknown): string[] {
  const complaints: string[] = [];
  if (status !== expected.status) complaints.push(`status ${status}, not ${expected.status}`);
  if (expected.contentType !== undefined && headers['content-type'] !== expected.contentType) {
    complaints.push(`content type ${headers['content-type']}, not ${expected.contentType}`);
  }
  if (expected.warning !== undefined && !String(headers['warning'] ?? '').includes(expected.warning)) {
    complaints.push(`no warning ${JSON.stringify(expected.warning)} in ${String(headers['warning'])}`);
  }
  if (expected.text !== undefined && !messageOf(value, text).includes(expected.text)) {
    complaints.push(`${JSON.stringify(expected.text)} is not in the answer`);
  }
  if (expected.causes !== undefined) complaints.push(...differences(expected.causes, faultsOf(value), 'fields at fault'));
  return expected.body === undefined ? complaints : [...complaints, ...differences(expected.body, value)];
}
