/** An alert as `GET /alerts` describes it. */
export interface ShownAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
  readonly activeAt: string;
}

const RANK: Readonly<Record<string, number>> = { critical: 0, warning: 1, info: 2 };
/** Labels that say what an alert is about, and not what kind of alert it is. */
const GENERAL = [
  'alertname',
  'severity',
  'operator_health_impact',
  'kubernetes_operator_part_of',
  'kubernetes_operator_component',
];

/** One line for each alert, the worst first. */
export function formatAlerts(alerts: readonly ShownAlert[]): string {
  if (alerts.length === 0) return 'No alerts.';
  const rankOf = ({ labels, state }: ShownAlert): number => (RANK[labels['severity'] ?? ''] ?? 3) + (state === 'firing' ? 0 : 10);
  return alerts
    .toSorted((a, b) => rankOf(a) - rankOf(b))
    .map(({ labels, annotations, state, activeAt }) => {
      const about = Object.entries(labels)
        .filter(([name]) => !GENERAL.includes(name))
        .map(([name, value]) => `${name}=${value}`)
        .join(' ');
      const head = `${state.padEnd(8)} ${(labels['severity'] ?? '').padEnd(8)} ${labels['alertname']}`;
      return `${head}${about === '' ? '' : ` (${about})`}: ${annotations['summary'] ?? ''} Since ${activeAt}.`;
    })
    .join('\n');
}
