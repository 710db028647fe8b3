import {
  CDIKind,
  DataImportCronKind,
  DataVolumeKind,
  NodeKind,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
} from '@slipway/api';
import type { ControllerRegistration } from '@slipway/runtime';
import { storageMetrics, WORKERS } from './storage-metrics.ts';

export { cdiPrometheusRule } from './prometheus-rule.ts';

/** Shows CDI's metrics, computed when somebody asks. */
export const cdiMetrics: ControllerRegistration = {
  name: 'cdi-metrics',
  rules: [],
  create({ informers }) {
    const profiles = informers.lister(StorageProfileKind);
    const [cdis, nodes, classes] = [informers.lister(CDIKind), informers.lister(NodeKind), informers.lister(StorageClassKind)];
    const [dataVolumes, crons, pods] = [
      informers.lister(DataVolumeKind),
      informers.lister(DataImportCronKind),
      informers.lister(PodKind),
    ];
    return {
      metrics: () =>
        storageMetrics({
          cdi: cdis.list().find(({ status }) => status?.phase !== 'Error'),
          nodeCount: nodes.list().length,
          classes: classes.list(),
          profile: (name) => profiles.get({ namespace: '', name }),
          dataVolumes: dataVolumes.list(),
          crons: crons.list(),
          pods: pods.list().filter(({ metadata }) => WORKERS.some(({ name }) => name.test(metadata.name ?? ''))),
        }),
    };
  },
};
