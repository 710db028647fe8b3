import { expect, it } from 'vitest';
import { parseRoutes } from './host-networks.ts';

it('reads the kernel routing table', () => {
  const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0102A8C0	0003	0	0	0	00000000	0	0	0
br1	00F40A0A	00000000	0001	0	0	0	00FFFFFF	0	0	0
`;
  expect(parseRoutes(table)).toEqual(['0.0.0.0/0', '10.10.244.0/24']);
});
