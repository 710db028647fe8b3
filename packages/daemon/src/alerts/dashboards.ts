import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DashboardFile, dashboardFiles } from '@slipway/operators';
import { makeDirectories } from '../make-directories.ts';
import { UserError } from '../report-failure.ts';

export interface DashboardsOptions {
  /** Directory to write all of them into. */
  readonly out?: string;
}

/** `slipway dashboards`: lists the dashboards, prints one, or writes all as files that Grafana loads. Needs no cluster. */
export async function dashboards(name: string | undefined, { out }: DashboardsOptions): Promise<void> {
  const files = dashboardFiles();
  if (name !== undefined) process.stdout.write(named(files, name).text);
  else if (out === undefined) console.log(formatDashboards(files));
  else for (const path of await writeDashboards(files, out)) console.log(path);
}

function named(files: readonly DashboardFile[], name: string): DashboardFile {
  const found = files.find((file) => file.name === name);
  if (found !== undefined) return found;
  throw new UserError(`There is no dashboard ${name}; there are ${files.map((file) => file.name).join(', ')}`, 2);
}

/** One line for each: its name, its title, what it shows. */
export function formatDashboards(files: readonly DashboardFile[]): string {
  const width = (of: (file: DashboardFile) => string): number => Math.max(...files.map((file) => of(file).length));
  const [nameWidth, titleWidth] = [width(({ name }) => name), width(({ title }) => title)];
  return files
    .map(({ name, title, description }) => `${name.padEnd(nameWidth)}  ${title.padEnd(titleWidth)}  ${description}`)
    .join('\n');
}

/** Writes `<name>.json` files, over older ones of the same name, and says where. */
export async function writeDashboards(files: readonly DashboardFile[], directory: string): Promise<readonly string[]> {
  makeDirectories(directory);
  const paths = files.map(({ name, text }) => ({ path: join(directory, `${name}.json`), text }));
  for (const { path, text } of paths) await writeFile(path, text);
  return paths.map(({ path }) => path);
}
