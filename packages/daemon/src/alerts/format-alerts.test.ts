import { expect, it } from 'vitest';
import { formatAlerts } from './format-alerts.ts';

it('shows the worst alert first, with what it is about', () => {
  const alert = (alertname: string, severity: string, state: 'firing' | 'pending', labels = {}) => ({
    labels: { alertname, severity, kubernetes_operator_part_of: 'kubevirt', ...labels },
    annotations: { summary: 'It is so.' },
    state,
    activeAt: '2026-01-01T00:00:00Z',
  });
  const lines = formatAlerts([
    alert('Later', 'critical', 'pending'),
    alert('Mild', 'info', 'firing'),
    alert('VMCannotBeEvicted', 'warning', 'firing', { name: 'web', namespace: 'shop' }),
  ]).split('\n');
  expect(lines).toEqual([
    'firing   warning  VMCannotBeEvicted (name=web namespace=shop): It is so. Since 2026-01-01T00:00:00Z.',
    'firing   info     Mild: It is so. Since 2026-01-01T00:00:00Z.',
    'pending  critical Later: It is so. Since 2026-01-01T00:00:00Z.',
  ]);
  expect(formatAlerts([])).toBe('No alerts.');
});
