import { describe, expect, it } from 'vitest';
import { atApiLevel, differences, type RecordedCase, timelineOf } from './recorded.ts';
import { play } from './timeline.ts';

/** A case of our own in the recorded form: what KubeVirt 1.1 would have written down. */
function caseOf(runStrategy: string, scenario: string, more: Partial<RecordedCase['expect']>): RecordedCase {
  const vm = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: 'NAME', namespace: 'NS' },
    spec: {
      runStrategy,
      template: {
        spec: {
          domain: { devices: { interfaces: [{ name: 'n', masquerade: {} }] }, memory: { guest: '64Mi' } },
          networks: [{ name: 'n', pod: {} }],
        },
      },
    },
  };
  return {
    name: `${runStrategy}-${scenario}`,
    runStrategy: { runStrategy },
    scenario,
    expect: {
      actions: [
        { do: 'create', code: 201 },
        { do: 'stop', code: 202 },
      ],
      printableStatusAfterLastAction: ['Stopping', 'Stopped'],
      stateChangeRequests: [],
      final: { vm: { printableStatus: 'Stopped', runStrategy: 'Halted' }, vmiExists: false, vmiInstances: 1 },
      ...more,
    },
    events: [{ reason: 'SuccessfulCreate' }],
    timeline: [
      { t: 0, action: { do: 'create', request: { body: vm } } },
      { t: 3, action: { do: 'stop', request: { body: {} } } },
      { t: 6 },
    ],
  };
}

describe('recorded timelines', () => {
  it('agree where both levels do the same', async () => {
    const stopped = caseOf('Always', 'stop', {});
    expect(atApiLevel(stopped)).toBe(stopped);
    expect(differences(stopped, await play(timelineOf(stopped)))).toEqual([]);
  });

  it('are corrected where the API level settles them, and say what differs otherwise', async () => {
    const stopped = caseOf('RerunOnFailure', 'stop', {});
    const outcome = await play(timelineOf(stopped));
    expect(differences(stopped, outcome)).toEqual(['requests:  / Stop 1', 'run strategy at the end: Halted / RerunOnFailure']);
    expect(differences(atApiLevel(stopped), outcome)).toEqual([]);
  });
});
