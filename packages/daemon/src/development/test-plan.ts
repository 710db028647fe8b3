/** One suite of `slipway test`, in order of cost. */
export interface Suite {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** vitest writes its counts here; absent for checks that only pass or fail. */
  readonly report?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface TestPlanInput {
  readonly root: string;
  /** For the counts of vitest. */
  readonly reportDir: string;
  readonly long: boolean;
}

const LONG = { SLIPWAY_E2E_LONG: '1', SLIPWAY_KILL_ROUNDS: '200' };

export function planTests({ root, reportDir, long }: TestPlanInput): Suite[] {
  const bin = (name: string) => `${root}/node_modules/.bin/${name}`;
  const vitest = (project: string): Suite => {
    const report = `${reportDir}/${project}.json`;
    return {
      name: project,
      report,
      argv: [bin('vitest'), 'run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
      ...(long && { env: LONG }),
    };
  };
  return [
    { name: 'types', argv: [bin('tsc'), '-p', root] },
    { name: 'lint', argv: [bin('oxlint'), '--type-aware', '--quiet'] },
    { name: 'format', argv: [bin('biome'), 'format', '.'] },
    { name: 'boundaries', argv: [process.execPath, `${root}/tools/boundaries.mjs`] },
    vitest('unit'),
    vitest('host'),
    vitest('e2e'),
  ];
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The part of vitest's JSON report that is counted. */
export interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTotalTestSuites: number;
  readonly numFailedTestSuites: number;
}

/** A check counts as one test; a suite that failed without counting a failure (a crash, a broken file) counts as one. */
export function countSuite(status: number, report: VitestReport | undefined): Counts {
  if (report === undefined) return { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 };
  const failed = report.numFailedTests;
  return { passed: report.numPassedTests, failed: status !== 0 && failed === 0 ? 1 : failed, skipped: report.numPendingTests };
}

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** The closing line; CI looks for it. */
export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
