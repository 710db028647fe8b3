import { expect, it } from 'vitest';
import { missingFrom } from './host-packages.ts';

it('tells installed packages from removed ones and from unknown ones', () => {
  const database = `Package: nftables
Status: install ok installed
Version: 1.0.6

Package: ovmf
Status: deinstall ok config-files

Package: xz-utils
Essential: yes
Status: hold ok installed
`;
  expect(missingFrom(database, ['nftables', 'ovmf', 'xz-utils', 'zstd'])).toEqual(['ovmf', 'zstd']);
});
