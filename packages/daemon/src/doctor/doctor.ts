import { canonicalDataDir } from '../instance/instance-store.ts';
import { diagnose, type Finding, type Severity } from './findings.ts';
import { gatherHostFacts } from './gather-facts.ts';

const MARKS: Record<Severity, string> = { ok: ' ok ', note: 'note', warning: 'WARN', error: 'FAIL' };

/** `slipway doctor`: exit status 1 when something must be repaired before guests can run. */
export async function doctor(options: { dataDir: string; output: string }): Promise<void> {
  const findings = diagnose(await gatherHostFacts(canonicalDataDir(options.dataDir)));
  console.log(options.output === 'json' ? JSON.stringify(findings, undefined, 2) : formatFindings(findings));
  process.exitCode = findings.some((finding) => finding.severity === 'error') ? 1 : 0;
}

export function formatFindings(findings: readonly Finding[]): string {
  return findings
    .flatMap(({ check, severity, message, remedy }) => [
      `[${MARKS[severity]}] ${check.padEnd(18)} ${message}`,
      ...(remedy === undefined ? [] : [`${' '.repeat(26)}→ ${remedy}`]),
    ])
    .join('\n');
}
