import { GROUP_TEXT } from './belonging.ts';
import type { CheckedNode, LayerReport } from './check-layer.ts';

/** Which pods are where, and below them what is not as it should be. Pure. */
export function formatLayer({ nodes, findings }: LayerReport): string {
  const lines = nodes.flatMap((node) => [titleOf(node), ...podLines(node)]);
  const verdict =
    findings.length === 0
      ? ['Everything is where it belongs.']
      : ['Not as it should be:', ...findings.map((text) => `  ${text}`)];
  return [...lines, '', ...verdict].join('\n');
}

function titleOf({ name, pool, isForGuests, taints }: CheckedNode): string {
  const parts = [
    pool && `machine pool ${pool}`,
    isForGuests && 'virtualization',
    taints.length > 0 && `taints ${taints.join(', ')}`,
  ];
  const told = parts.filter((part) => typeof part === 'string' && part !== '');
  return `node ${name}${told.length > 0 ? ` (${told.join('; ')})` : ''}`;
}

function podLines({ pods }: CheckedNode): readonly string[] {
  if (pods.length === 0) return ['  no pods'];
  const width = Math.max(...pods.map(({ group }) => GROUP_TEXT[group].length));
  return pods.map(({ pod, group, fault }) => `  ${fault === undefined ? ' ' : '!'} ${GROUP_TEXT[group].padEnd(width)}  ${pod}`);
}
