import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dashboardFiles } from '@slipway/operators';
import { expect, it } from 'vitest';
import { dashboards, formatDashboards, writeDashboards } from './dashboards.ts';

const file = (name: string, title: string) => ({ name, title, description: 'What it shows.', text: '{}\n' });

it('lists names, titles and what they show', () => {
  expect(formatDashboards([file('a', 'First'), file('longer', '2nd')])).toBe(
    'a       First  What it shows.\nlonger  2nd    What it shows.',
  );
});

it('writes all of them into a directory, and over older ones', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'sw-dashboards-'));
  try {
    const directory = join(scratch, 'grafana', 'slipway');
    await writeDashboards([file('kubevirt-migrations', 'Old')], directory);
    const paths = await writeDashboards(dashboardFiles(), directory);
    expect(new Set(readdirSync(directory).map((name) => join(directory, name)))).toEqual(new Set(paths));
    for (const path of paths) expect(JSON.parse(readFileSync(path, 'utf8'))).toHaveProperty('panels');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

it('says which there are when it is asked for another', async () => {
  await expect(dashboards('kubevirt', {})).rejects.toThrow('there are kubevirt-top-consumers, kubevirt-virtual-machines');
});

it('names a directory that cannot be made', async () => {
  await expect(writeDashboards([], '/proc/slipway')).rejects.toThrow('Cannot make the directory /proc/slipway');
});
