import { describe, expect, it } from 'vitest';
import { addCounts, closingLine, countSuite, planTests } from './test-plan.ts';

const report = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 1, numTotalTestSuites: 2, numFailedTestSuites: 0 };

describe('slipway test', () => {
  it('runs checks first and guests last', () => {
    const names = planTests({ root: '/r', reportDir: '/t', long: false }).map((suite) => suite.name);
    expect(names).toEqual(['types', 'lint', 'format', 'boundaries', 'unit', 'host', 'e2e']);
  });

  it('never calls a suite that crashed a success', () => {
    expect(countSuite(1, undefined)).toEqual({ passed: 0, failed: 1, skipped: 0 });
    expect(countSuite(1, report)).toEqual({ passed: 3, failed: 1, skipped: 1 });
    expect(countSuite(0, report)).toEqual({ passed: 3, failed: 0, skipped: 1 });
  });

  it('closes with the line that CI looks for', () => {
    expect(closingLine(addCounts({ passed: 1, failed: 0, skipped: 0 }, { passed: 2, failed: 1, skipped: 0 }))).toBe(
      '3 passed, 1 failed',
    );
    expect(closingLine({ passed: 1, failed: 0, skipped: 2 })).toBe('1 passed, 0 failed, 2 skipped');
  });
});
