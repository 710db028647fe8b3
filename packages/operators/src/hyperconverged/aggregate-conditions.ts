import { type Condition, findCondition } from '@slipway/apimachinery';

/** What an operand says of itself. */
export interface ComponentState {
  /** `KubeVirt`, `CDI`, `SSP`: also the prefix of reasons. */
  readonly component: string;
  readonly conditions: readonly Condition[] | undefined;
  /** Version that it says it has, where it says so. */
  readonly observedVersion?: string | undefined;
}

type Update = Omit<Condition, 'lastTransitionTime'>;
type Summary = Map<string, Update>;

const COMPLETED = { reason: 'ReconcileCompleted', message: 'Reconcile completed successfully' };
const ORDER = ['ReconcileComplete', 'Available', 'Progressing', 'Degraded', 'Upgradeable'];

/** The conditions of a HyperConverged: what is wrong with its operands, or that nothing is. */
export function aggregateConditions(components: readonly ComponentState[]): readonly Update[] {
  const summary: Summary = new Map();
  for (const component of components) collectNegative(summary, component);
  fillIn(summary);
  summary.set('ReconcileComplete', { type: 'ReconcileComplete', status: 'True', ...COMPLETED });
  return ORDER.flatMap((type) => summary.get(type) ?? []);
}

/** Before anything is known of the operands. */
export function initialConditions(): readonly Update[] {
  const text = { reason: 'Init', message: 'Initializing HyperConverged cluster' };
  return [
    { type: 'ReconcileComplete', status: 'Unknown', ...text },
    { type: 'Available', status: 'False', ...text },
    { type: 'Progressing', status: 'True', ...text },
    { type: 'Degraded', status: 'False', ...text },
    { type: 'Upgradeable', status: 'Unknown', ...text },
  ];
}

/** When an operand could not be written. */
export function failedConditions(message: string): readonly Update[] {
  const reason = 'ReconcileFailed';
  const text = `Error while reconciling: ${message}`;
  return ORDER.map((type) => ({ type, status: type === 'ReconcileComplete' ? 'False' : 'Unknown', reason, message: text }));
}

/** While another version takes over; what the operands say is shown beside it. */
export function upgradingConditions(components: readonly ComponentState[], version: string): readonly Update[] {
  const text = { reason: 'HCOUpgrading', message: `HCO is now upgrading to version ${version}` };
  return aggregateConditions(components).map((condition) => {
    if (condition.type === 'Progressing') return { type: 'Progressing', status: 'True', ...text };
    return condition.type === 'Upgradeable' ? { type: 'Upgradeable', status: 'False', ...text } : condition;
  });
}

/** Whether every operand works and has this version. */
export const areUpgraded = (components: readonly ComponentState[], version: string): boolean =>
  areAllGood(aggregateConditions(components)) && components.every(({ observedVersion }) => observedVersion === version);

export const areAllGood = (conditions: readonly Update[]): boolean =>
  conditions.every(({ type, status }) => status === (type === 'Progressing' || type === 'Degraded' ? 'False' : 'True'));

interface Finding {
  readonly type: string;
  readonly status: 'True' | 'False';
  /** Follows the component's name in the reason. */
  readonly suffix: string;
  readonly message: string;
  /** Does not replace what another operand said. */
  readonly isWeak?: boolean;
}

function collectNegative(summary: Summary, { component, conditions = [] }: ComponentState): void {
  const found = conditions.length === 0 ? withoutConditions(component) : findingsOf(component, conditions);
  for (const { type, status, suffix, message, isWeak } of found) {
    if (isWeak && summary.has(type)) continue;
    summary.set(type, { type, status, reason: `${component}${suffix}`, message });
  }
}

function withoutConditions(component: string): readonly Finding[] {
  const text = { suffix: 'Conditions', message: `${component} resource has no conditions` };
  return [
    { type: 'Available', status: 'False', ...text },
    { type: 'Progressing', status: 'True', ...text },
    { type: 'Upgradeable', status: 'False', ...text },
  ];
}

function findingsOf(component: string, conditions: readonly Condition[]): readonly Finding[] {
  const findings: Finding[] = [];
  const messageOf = (type: string): string => {
    const condition = findCondition(conditions, type);
    return condition === undefined ? `missing "${type}" condition` : (condition.message ?? '');
  };
  const has = (type: string, status: string): boolean => findCondition(conditions, type)?.status === status;
  if (!has('Available', 'True')) {
    const message = `${component} is not available: ${messageOf('Available')}`;
    findings.push({ type: 'Available', status: 'False', suffix: 'NotAvailable', message });
  }
  if (!has('Progressing', 'False')) {
    const text = { suffix: 'Progressing', message: `${component} is progressing: ${messageOf('Progressing')}` };
    findings.push(
      { type: 'Progressing', status: 'True', ...text },
      { type: 'Upgradeable', status: 'False', isWeak: true, ...text },
    );
  }
  if (!has('Degraded', 'False')) {
    const message = `${component} is degraded: ${messageOf('Degraded')}`;
    findings.push({ type: 'Degraded', status: 'True', suffix: 'Degraded', message });
  }
  if (has('Upgradeable', 'False')) {
    const message = `${component} is not upgradeable: ${messageOf('Upgradeable')}`;
    findings.push({ type: 'Upgradeable', status: 'False', suffix: 'NotUpgradeable', message });
  }
  return findings;
}

/** The types that no operand had anything bad to say about. */
function fillIn(summary: Summary): void {
  const set = (type: string, status: 'True' | 'False', text: { reason: string; message: string }): void => {
    if (!summary.has(type)) summary.set(type, { type, status, ...text });
  };
  const degraded = summary.get('Degraded');
  const progressing = summary.get('Progressing');
  if (degraded) {
    const text = { reason: 'HCODegraded', message: degraded.message ?? '' };
    set('Progressing', 'False', COMPLETED);
    set('Upgradeable', 'False', text);
    set('Available', 'False', text);
  } else if (progressing) {
    set('Degraded', 'False', COMPLETED);
    set('Upgradeable', 'False', { reason: 'HCOProgressing', message: progressing.message ?? '' });
    set('Available', 'True', COMPLETED);
  }
  for (const type of ['Available', 'Upgradeable']) set(type, 'True', COMPLETED);
  for (const type of ['Progressing', 'Degraded']) set(type, 'False', COMPLETED);
}

export function systemHealth(conditions: readonly Update[]): 'healthy' | 'warning' | 'error' {
  const isTrue = (type: string): boolean =>
    conditions.some((condition) => condition.type === type && condition.status === 'True');
  const isUpgrade = conditions.some(({ reason }) => reason === 'HCOUpgrading');
  if ((!isTrue('Available') && !isUpgrade) || isTrue('Degraded')) return 'error';
  return !isTrue('ReconcileComplete') || isTrue('Progressing') ? 'warning' : 'healthy';
}
