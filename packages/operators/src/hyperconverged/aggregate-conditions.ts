import { type Condition, findCondition } from '@slipway/apimachinery';

/** What an operand says of itself. */
export interface ComponentState {
  /** `KubeVirt`, `CDI`, `SSP`: also the prefix of reasons. */
  readonly component: string;
  readonly conditions: readonly Condition[] | undefined;
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

/** When an operand could not be written. */
export function failedConditions(message: string): readonly Update[] {
  const reason = 'ReconcileFailed';
  const text = `Error while reconciling: ${message}`;
  return ORDER.map((type) => ({ type, status: type === 'ReconcileComplete' ? 'False' : 'Unknown', reason, message: text }));
}

export const areAllGood = (conditions: readonly Update[]): boolean =>
  conditions.every(({ type, status }) => status === (type === 'Progressing' || type === 'Degraded' ? 'False' : 'True'));

function collectNegative(summary: Summary, { component, conditions }: ComponentState): void {
  const set = (type: string, status: 'True' | 'False', reason: string, message: string): void => {
    summary.set(type, { type, status, reason: `${component}${reason}`, message });
  };
  if (!conditions || conditions.length === 0) {
    const message = `${component} resource has no conditions`;
    set('Available', 'False', 'Conditions', message);
    set('Progressing', 'True', 'Conditions', message);
    set('Upgradeable', 'False', 'Conditions', message);
    return;
  }
  const available = findCondition(conditions, 'Available');
  if (available?.status !== 'True') {
    set(
      'Available',
      'False',
      'NotAvailable',
      `${component} is not available: ${available?.message ?? 'missing "Available" condition'}`,
    );
  }
  const progressing = findCondition(conditions, 'Progressing');
  if (progressing?.status !== 'False') {
    const message = `${component} is progressing: ${progressing?.message ?? 'missing "Progressing" condition'}`;
    set('Progressing', 'True', 'Progressing', message);
    if (!summary.has('Upgradeable')) set('Upgradeable', 'False', 'Progressing', message);
  }
  const degraded = findCondition(conditions, 'Degraded');
  if (degraded?.status !== 'False') {
    set('Degraded', 'True', 'Degraded', `${component} is degraded: ${degraded?.message ?? 'missing "Degraded" condition'}`);
  }
  const upgradeable = findCondition(conditions, 'Upgradeable');
  if (upgradeable?.status === 'False') {
    set('Upgradeable', 'False', 'NotUpgradeable', `${component} is not upgradeable: ${upgradeable.message ?? ''}`);
  }
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
  if (!isTrue('Available') || isTrue('Degraded')) return 'error';
  return !isTrue('ReconcileComplete') || isTrue('Progressing') ? 'warning' : 'healthy';
}
