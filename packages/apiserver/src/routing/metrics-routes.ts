import { badRequest } from '@slipway/apimachinery';
import type { Answer, Call } from '../pipeline/server-context.ts';

const METRICS_TEXT = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };

/** Metrics of one component alone, by the beginning of their names. */
const COMPONENTS: Readonly<Record<string, RegExp>> = {
  kubevirt: /^kubevirt_(?!cdi_|hco_|ssp_|hpp_)/,
  cdi: /^kubevirt_cdi_/,
  hco: /^kubevirt_hco_/,
  ssp: /^kubevirt_ssp_/,
  hpp: /^kubevirt_hpp_/,
  server: /^(?:slipway|apiserver|nodejs|process)_/,
};
const COMPONENT_PATH = /^\/metrics\/([a-z]+)$/;
const NAME = /^(?:\{__name__(=~?)"([^"{}]+)"\}|([a-zA-Z_:][a-zA-Z0-9_:]*))$/;

/** `/metrics`, `/metrics/<component>`, `/federate` with `match[]` selectors of names, and `/alerts`. */
export async function handleMonitoring({ request, server }: Call): Promise<Answer | undefined> {
  const { path, query } = request;
  if (path === '/alerts' && server.alerts) return { status: 200, value: server.alerts() };
  const wanted = path === '/metrics' ? () => true : path === '/federate' ? matching(query.getAll('match[]')) : ofComponent(path);
  if (wanted === undefined) return undefined;
  return { status: 200, headers: METRICS_TEXT, text: await server.metrics.render(wanted) };
}

function ofComponent(path: string): ((name: string) => boolean) | undefined {
  const pattern = COMPONENTS[COMPONENT_PATH.exec(path)?.[1] ?? ''];
  return pattern && ((name) => pattern.test(name));
}

function matching(selectors: readonly string[]): (name: string) => boolean {
  const tests = selectors.map((selector) => {
    const [, operator, value, bare] = NAME.exec(selector.trim()) ?? [];
    if (bare !== undefined || operator === '=') return (name: string) => name === (bare ?? value);
    if (value === undefined) throw badRequest(`match[]: ${selector} is no selector of names`);
    return prefixTest(value);
  });
  return (name) => tests.some((test) => test(name));
}

/** Only alternatives of names with `.*` at an end, so that nobody's pattern keeps the server busy. */
function prefixTest(pattern: string): (name: string) => boolean {
  const alternatives = pattern.split('|').map((text) => text.replace(/^\(|\)$/g, ''));
  const plain = /^(?:\.[*+])?[a-zA-Z0-9_:]*(?:\.[*+])?$/;
  if (!alternatives.every((text) => plain.test(text))) throw badRequest(`match[]: ${pattern} is too complex a pattern`);
  const patterns = alternatives.map((text) => new RegExp(`^${text}$`));
  return (name) => patterns.some((each) => each.test(name));
}
