import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runAttached } from '@slipway/hostapi';
import { findProgram } from '../doctor/programs.ts';
import { ensureHostPackages, KUBECTL_PACKAGE, TEST_PACKAGES } from '../host-packages.ts';
import { createProgress } from '../progress.ts';
import { UserError } from '../report-failure.ts';
import { checkoutRoot } from '../checkout.ts';
import { addCounts, closingLine, countSuite, planTests, type Suite, type VitestReport } from './test-plan.ts';

/** `slipway test`: installs what the tests need, runs every suite even after a failure, and closes with the counts. */
export async function test(options: { yes?: boolean; long?: boolean }): Promise<void> {
  if (process.getuid?.() !== 0) throw new UserError('The tests make namespaces and guests; run them with sudo');
  const root = checkoutRoot();
  const kubectl = findProgram('kubectl') === undefined ? [KUBECTL_PACKAGE] : [];
  await ensureHostPackages([...TEST_PACKAGES, ...kubectl], {
    yes: options.yes ?? false,
    progress: createProgress(process.stderr, Date.now),
  });
  const reportDir = mkdtempSync(join(tmpdir(), 'slipway-test-'));
  let counts = { passed: 0, failed: 0, skipped: 0 };
  const failures: string[] = [];
  try {
    for (const suite of planTests({ root, reportDir, long: options.long ?? false })) {
      console.log(`\n== ${suite.name}`);
      const status = await runAttached(suite.argv, {
        cwd: root,
        env: { ...process.env, NO_COLOR: '1', ...suite.env, SLIPWAY_ROOT: root },
      });
      const suiteCounts = countSuite(status, readReport(suite));
      counts = addCounts(counts, suiteCounts);
      if (suiteCounts.failed > 0) failures.push(suite.name);
    }
  } finally {
    rmSync(reportDir, { recursive: true, force: true });
  }
  if (failures.length > 0) console.log(`\nFailed: ${failures.join(', ')}`);
  console.log(`\n${closingLine(counts)}`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}

/** Undefined for checks, and for a vitest that died before it wrote its report. */
function readReport({ report }: Suite): VitestReport | undefined {
  if (report === undefined) return undefined;
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as VitestReport; // written by vitest's JSON reporter
  } catch {
    return undefined;
  }
}
