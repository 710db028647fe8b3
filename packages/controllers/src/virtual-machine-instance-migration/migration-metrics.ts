import type { VirtualMachineInstanceMigration } from '@slipway/api';
import { gauge, type MetricFamily } from '@slipway/runtime';
import { isFinalMigration, MigrationPhase } from './migration-state.ts';

type Migration = VirtualMachineInstanceMigration;

/** By the end of the metric's name: the phases that it counts. */
const COUNTED: readonly (readonly [name: string, phases: readonly string[]])[] = [
  ['unset', [MigrationPhase.unset]],
  ['pending', [MigrationPhase.pending]],
  ['scheduling', [MigrationPhase.scheduling]],
  ['running', [MigrationPhase.scheduled, MigrationPhase.preparingTarget, MigrationPhase.targetReady, MigrationPhase.running]],
];

/** What KubeVirt says of migrations in numbers. Pure. */
export function migrationMetrics(migrations: readonly Migration[]): readonly MetricFamily[] {
  const finished = migrations.filter(isFinalMigration);
  return [
    ...COUNTED.map(([name, phases]) =>
      gauge(
        `kubevirt_vmi_migrations_in_${name}_phase`,
        `Number of migrations in phase ${name}`,
        migrations.filter(({ status }) => phases.includes(status?.phase ?? '')).length,
      ),
    ),
    outcome('succeeded', 'Migrations that have succeeded', finished, MigrationPhase.succeeded),
    outcome('failed', 'Migrations that have failed', finished, MigrationPhase.failed),
    time('start', 'When a migration has begun to move its guest', migrations),
    time('end', 'When a migration was over', migrations),
  ];
}

function outcome(name: string, help: string, finished: readonly Migration[], phase: string): MetricFamily {
  return {
    name: `kubevirt_vmi_migration_${name}`,
    help,
    type: 'gauge',
    samples: finished
      .filter(({ status }) => status?.phase === phase)
      .map(({ metadata, spec }) => ({
        labels: { vmi: spec.vmiName ?? '', vmim: metadata.name ?? '', namespace: metadata.namespace ?? '' },
        value: 1,
      })),
  };
}

function time(which: 'start' | 'end', help: string, migrations: readonly Migration[]): MetricFamily {
  return {
    name: `kubevirt_vmi_migration_${which}_time_seconds`,
    help,
    type: 'gauge',
    samples: migrations.flatMap(({ metadata, spec, status }) => {
      const state = status?.migrationState;
      const at = Date.parse((which === 'start' ? state?.startTimestamp : state?.endTimestamp) ?? '');
      if (Number.isNaN(at)) return [];
      const labels = {
        node: state?.sourceNode ?? '',
        namespace: metadata.namespace ?? '',
        name: spec.vmiName ?? '',
        migration_name: metadata.name ?? '',
        ...(which === 'end' && { status: state?.failed ? 'failed' : 'succeeded' }),
      };
      return [{ labels, value: Math.floor(at / 1000) }];
    }),
  };
}
