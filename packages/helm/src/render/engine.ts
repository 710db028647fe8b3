import { sprigFunctions } from '../functions/index.ts';
import { cleanPath } from '../functions/urls.ts';
import { type Chart, ChartError, textOfFile } from '../chart/chart.ts';
import { Budget, DEFAULT_LIMITS, LimitExceeded, type Limits } from '../template/budget.ts';
import { executeTemplate, TemplateExecError } from '../template/execute.ts';
import { FunctionError, type FunctionTable } from '../template/functions.ts';
import type { Tree } from '../template/nodes.ts';
import { isEmptyTree, parseTemplate } from '../template/parse.ts';
import { TemplateParseError } from '../template/parse-error.ts';
import { type GoMap, int, isMap, typed, type Value } from '../template/values.ts';
import { helmFunctions, type Lookup, markedMessage } from './helm-functions.ts';
import { type Capabilities, capabilitiesObject, chartObject, filesObject } from './objects.ts';

export interface EngineOptions {
  readonly capabilities: Capabilities;
  readonly release: { readonly name: string; readonly namespace: string; readonly isUpgrade: boolean; readonly revision: bigint };
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly lookup?: Lookup;
  readonly isStrict?: boolean;
  readonly isLint?: boolean;
  readonly limits?: Limits;
  /** Wall-clock limit of the whole rendering. Default 20 s. */
  readonly timeoutMs?: number;
}

interface Renderable {
  readonly name: string;
  readonly source: string;
  readonly scope: GoMap;
  readonly basePath: string;
}

const DEFAULT_TIMEOUT_MS = 20_000;
const MAX_INCLUDES = 1000;

/** Renders all templates of a chart with its effective values; the text of each file by its name. */
export function renderTemplates(chart: Chart, values: GoMap, options: EngineOptions): Map<string, string> {
  const { now, limits = DEFAULT_LIMITS, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const budget = new Budget(limits, { now, at: now() + timeoutMs });
  const files: Renderable[] = [];
  collect(chart, values, scopeBase(options), { path: '', isRoot: true, budget, files });
  return new Rendering(files, budget, options).run();
}

function scopeBase({ release, capabilities }: EngineOptions): GoMap {
  const fields = new Map<string, Value>([
    ['Name', release.name],
    ['Namespace', release.namespace],
    ['IsUpgrade', release.isUpgrade],
    ['IsInstall', !release.isUpgrade],
    ['Revision', int(release.revision)],
    ['Service', 'Helm'],
  ]);
  return new Map<string, Value>([
    ['Release', fields],
    ['Capabilities', capabilitiesObject(capabilities)],
  ]);
}

interface Place {
  readonly path: string;
  readonly isRoot: boolean;
  readonly budget: Budget;
  readonly files: Renderable[];
}

/** The scope of one chart; its templates and those of its subcharts go to the list. */
function collect(chart: Chart, values: GoMap, shared: GoMap, place: Place): GoMap {
  const path = place.isRoot ? chart.metadata.name : `${place.path}/charts/${chart.name}`;
  const subcharts: GoMap = new Map();
  const scope: GoMap = new Map<string, Value>([
    ...shared,
    ['Chart', chartObject(chart, place.isRoot)],
    ['Files', filesObject(chart.files, place.budget)],
    ['Values', typed(values, 'chartutil.Values')],
    ['Subcharts', subcharts],
  ]);
  for (const child of chart.dependencies) {
    const own = values.get(child.name);
    subcharts.set(child.name, collect(child, isMap(own) ? own : new Map(), shared, { ...place, path, isRoot: false }));
  }
  for (const file of chart.templates) {
    const isPartial = file.path.slice(file.path.lastIndexOf('/') + 1).startsWith('_');
    // a library only lends its named templates
    if (chart.metadata.type === 'library' && !isPartial) continue;
    place.files.push({ name: cleanPath(`${path}/${file.path}`), source: textOfFile(file), scope, basePath: `${path}/templates` });
  }
  return scope;
}

/** Templates of outer charts come last, so that their definitions win. */
function parseOrder(a: Renderable, b: Renderable): number {
  const depth = (name: string): number => name.split('/').length;
  return depth(b.name) - depth(a.name) || (a.name < b.name ? 1 : a.name > b.name ? -1 : 0);
}

class Rendering {
  private templates = new Map<string, Tree>();
  private readonly functions: FunctionTable;
  private readonly includes = new Map<string, number>();
  private lastInclude = '';
  private readonly files: readonly Renderable[];
  private readonly budget: Budget;
  private readonly options: EngineOptions;

  constructor(files: readonly Renderable[], budget: Budget, options: EngineOptions) {
    this.files = [...files].sort(parseOrder);
    this.budget = budget;
    this.options = options;
    const { now, randomBytes, lookup = () => undefined, isLint = false } = options;
    this.functions = {
      ...sprigFunctions({ budget, now, randomBytes }),
      ...helmFunctions({
        budget,
        lookup,
        isLint,
        include: (name, data) => this.include(name, data),
        tpl: (text, data) => this.tpl(text, data),
      }),
    };
  }

  run(): Map<string, string> {
    for (const file of this.files) this.guarded(file.name, () => this.add(file.name, file.source, this.templates));
    const rendered = new Map<string, string>();
    for (const file of this.files) {
      if (/(?:^|\/)_[^/]*$/.test(file.name)) continue;
      const data: GoMap = new Map<string, Value>([
        ...file.scope,
        [
          'Template',
          new Map<string, Value>([
            ['Name', file.name],
            ['BasePath', file.basePath],
          ]),
        ],
      ]);
      const text = this.guarded(file.name, () => this.execute(file.name, typed(data, 'chartutil.Values')));
      rendered.set(file.name, text.replaceAll('<no value>', ''));
    }
    return rendered;
  }

  private add(name: string, source: string, templates: Map<string, Tree>): void {
    for (const tree of parseTemplate(name, source, (called) => Object.hasOwn(this.functions, called))) {
      if (isEmptyTree(tree.body) && templates.has(tree.name)) continue;
      templates.set(tree.name, tree);
    }
  }

  private execute(name: string, data: Value): string {
    const tree = this.templates.get(name);
    if (tree === undefined) throw new FunctionError(`template: no template "${name}" associated with template "gotpl"`);
    const { functions, budget, templates } = this;
    return executeTemplate(tree, data, { functions, budget, templates, isStrict: this.options.isStrict === true });
  }

  private include(name: string, data: Value): string {
    const count = (this.includes.get(name) ?? 0) + 1;
    if (count > MAX_INCLUDES)
      throw new FunctionError(`rendering template has a nested reference name: ${name}: unable to execute template`);
    this.includes.set(name, count);
    this.lastInclude = name;
    try {
      return this.execute(name, data);
    } finally {
      this.includes.set(name, count - 1);
    }
  }

  /** Definitions in the text are known to this call only. */
  private tpl(text: string, data: Value): string {
    const outer = this.templates;
    this.templates = new Map(outer);
    try {
      this.add('gotpl', text, this.templates);
      const result = this.execute('gotpl', data);
      return result.replaceAll('<no value>', '');
    } catch (error) {
      if (error instanceof TemplateParseError)
        throw new FunctionError(`cannot parse template ${JSON.stringify(text)}: ${error.message}`);
      if (error instanceof TemplateExecError || error instanceof FunctionError)
        throw new FunctionError(`error during tpl function execution for ${JSON.stringify(text)}: ${error.message}`);
      throw error;
    } finally {
      this.templates = outer;
    }
  }

  /** Runs one step; whatever fails becomes a ChartError in Helm's words. */
  private guarded<T>(name: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.chartError(name, error);
    }
  }

  private chartError(name: string, error: unknown): unknown {
    if (error instanceof TemplateParseError) return parseError(error);
    if (error instanceof TemplateExecError) return execError(error);
    if (error instanceof LimitExceeded || error instanceof FunctionError) return new ChartError(`${name}: ${error.message}`);
    // the stack ends before a thousand includes do when they are nested in much else
    if (error instanceof RangeError)
      return new ChartError(
        `${name}: rendering template has a nested reference name: ${this.lastInclude}: unable to execute template`,
      );
    return error;
  }
}

function parseError(error: TemplateParseError): ChartError {
  const [, location = '', message = ''] = /^template: ([^ ]+): ([^]*)$/.exec(error.message) ?? [];
  return new ChartError(`parse error at (${location}): ${message.split(': ').at(-1) ?? message}`);
}

/** Errors of `fail` and `required` are shown with the place of the outermost template only. */
function execError(error: TemplateExecError): ChartError {
  const message = markedMessage(error.message);
  if (message === undefined) return new ChartError(error.message);
  const location = /^template: ([^ ]+):/.exec(error.message)?.[1] ?? '';
  return new ChartError(`execution error at (${location}): ${message}`);
}
