import type { DataImportCron } from '@slipway/api';
import { type Condition, type ConditionUpdate, type ObjectKey, setCondition } from '@slipway/apimachinery';

type Status = NonNullable<DataImportCron['status']>;

/** Where a DataImportCron stands. */
export interface Progress {
  /** State of the source that is wanted; absent before the source was reached. */
  readonly desired?: string | undefined;
  /** State that the managed DataSource holds. */
  readonly imported?: string | undefined;
  /** Phase of the DataVolume that is on its way. */
  readonly phase?: string | undefined;
  /** Why the source could not be asked. */
  readonly pollError?: string | undefined;
  readonly isAuthorized: boolean;
  /** Namespace of a claim that is the source. */
  readonly sourceNamespace?: string | undefined;
}

/** The complete status of a DataImportCron; `volume` is the import that is wanted, `isDone` says that the DataSource holds it. */
export function cronStatus(
  before: Status | undefined,
  facts: {
    readonly progress: Progress;
    readonly volume: ObjectKey | undefined;
    readonly isDone: boolean;
    readonly lastExecution: string | undefined;
    readonly sourceFormat: string;
    readonly now: string;
  },
): Status {
  const { progress, volume, isDone, lastExecution, sourceFormat, now } = facts;
  const { desired } = progress;
  let conditions = (before?.conditions ?? []) as readonly Condition[]; // statuses are the three of the schema
  for (const condition of conditionsOf(progress)) conditions = setCondition(conditions, condition, now);
  const isNew = isDone && volume !== undefined && volume.name !== before?.lastImportedPVC?.name;
  return {
    ...before,
    ...(volume && desired !== undefined && { currentImports: [{ DataVolumeName: volume.name, Digest: desired }] }),
    ...(isNew && { lastImportedPVC: { namespace: volume.namespace, name: volume.name }, lastImportTimestamp: now }),
    ...(lastExecution !== undefined && { lastExecutionTimestamp: lastExecution }),
    sourceFormat,
    conditions: conditions.map(({ lastTransitionTime: at, ...condition }) => ({
      ...{ type: condition.type, status: condition.status },
      ...{ reason: condition.reason ?? '', message: condition.message ?? '' },
      ...{ lastTransitionTime: at ?? now, lastHeartbeatTime: at ?? now },
    })),
  };
}

/** State of the source that the DataSource holds, as the status tells it. */
export function importedDigest(status: Status | undefined): string | undefined {
  const current = status?.currentImports?.[0];
  return current !== undefined && current.DataVolumeName === status?.lastImportedPVC?.name ? current.Digest : undefined;
}

/** Conditions as CDI writes them; a source that cannot be reached is said in the message, which CDI keeps to itself. */
export function conditionsOf(progress: Progress): readonly [progressing: ConditionUpdate, upToDate: ConditionUpdate] {
  return [progressing(progress), upToDate(progress)];
}

function progressing({ phase, isAuthorized, sourceNamespace }: Progress): ConditionUpdate {
  const verdict = (status: 'True' | 'False', reason: string, message: string): ConditionUpdate => ({
    ...{ type: 'Progressing', status, reason, message },
  });
  if (!isAuthorized)
    return verdict(
      'False',
      'NotAuthorized',
      `The service account of the cron may not clone from namespace ${sourceNamespace}: grant it "create" on datavolumes/source there`,
    );
  if (phase === undefined || phase === 'Succeeded') return verdict('False', 'NoImport', 'No current import');
  if (phase === 'ImportInProgress' || phase === 'CloneInProgress')
    return verdict('True', 'ImportProgressing', 'Import is progressing');
  const isScheduled = phase === '' || phase === 'ImportScheduled' || phase === 'CloneScheduled';
  return verdict('False', isScheduled ? 'ImportScheduled' : phase, `Import DataVolume phase ${phase || 'Pending'}`);
}

function upToDate({ desired, imported, phase, pollError }: Progress): ConditionUpdate {
  const verdict = (status: 'True' | 'False', reason: string, message: string): ConditionUpdate => ({
    ...{ type: 'UpToDate', status, reason, message },
  });
  const problem = pollError === undefined ? '' : `: ${pollError}`;
  if (desired === undefined) return verdict('False', 'NoDigest', `No source digest${problem}`);
  if (desired === imported)
    return verdict('True', 'UpToDate', `Latest import is up to date${problem && `, but the source cannot be asked${problem}`}`);
  if (phase === 'ImportInProgress') return verdict('False', 'ImportProgressing', 'Import is progressing');
  return verdict('False', 'Outdated', 'Source digest updated since last import');
}
