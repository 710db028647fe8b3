import type { Fields, HyperConverged } from '../kinds.ts';
import { bootImageTemplates } from './boot-images.ts';
import { certificates } from './certificates.ts';
import { isGateOn } from './feature-gates.ts';
import { patchedSpec } from './json-patch-annotation.ts';
import { DEFAULT_UNINSTALL } from './kubevirt-spec.ts';
import { compact, fieldsAt, valueAt } from './spec-paths.ts';
import type { Topology } from './topology.ts';

/** The spec of the CDI object. */
export function cdiSpec(hco: HyperConverged): Fields {
  const at = (path: string): unknown => valueAt(hco.spec, path);
  return patchedSpec(
    hco,
    'CDI',
    compact({
      uninstallStrategy: at('deployment.uninstallStrategy') ?? DEFAULT_UNINSTALL,
      certConfig: certificates(hco.spec),
      infra: fieldsAt(hco.spec, 'deployment.nodePlacements.infra'),
      workload: fieldsAt(hco.spec, 'deployment.nodePlacements.workload'),
      config: compact({
        featureGates: ['HonorWaitForFirstConsumer', 'DataVolumeClaimAdoption'],
        filesystemOverhead: at('storage.filesystemOverhead'),
        scratchSpaceStorageClass: at('storage.scratchSpaceStorageClass'),
        insecureRegistries: at('storage.storageImport.insecureRegistries'),
        podResourceRequirements: at('storage.workloadResourceRequirements'),
        tlsSecurityProfile: at('security.tlsSecurityProfile'),
        logVerbosity: at('deployment.logVerbosityConfig.cdi'),
      }),
    }),
  );
}

/** The spec of the NetworkAddonsConfig. */
export function networkAddonsSpec(hco: HyperConverged): Fields {
  const { spec, metadata } = hco;
  const { ca, server } = certificates(spec);
  const nameServerIP = valueAt(spec, 'networking.kubeSecondaryDNSNameServerIP');
  const placement = compact({
    infra: fieldsAt(spec, 'deployment.nodePlacements.infra'),
    workloads: fieldsAt(spec, 'deployment.nodePlacements.workload'),
  });
  return patchedSpec(
    hco,
    'NetworkAddonsConfig',
    compact({
      multus: {},
      linuxBridge: {},
      kubeMacPool: fieldsAt(spec, 'networking.kubeMacPoolConfiguration') ?? {},
      kubevirtIpamController: { defaultNetworkNADNamespace: 'openshift-ovn-kubernetes' },
      ovs: metadata.annotations?.['deployOVS'] === 'true' ? {} : undefined,
      kubeSecondaryDNS: isGateOn(spec, 'deployKubeSecondaryDNS') ? compact({ nameServerIP }) : undefined,
      selfSignConfiguration: {
        caRotateInterval: ca.duration,
        caOverlapInterval: ca.renewBefore,
        certRotateInterval: server.duration,
        certOverlapInterval: server.renewBefore,
      },
      placementConfiguration: Object.keys(placement).length > 0 ? placement : undefined,
      tlsSecurityProfile: valueAt(spec, 'security.tlsSecurityProfile'),
    }),
  );
}

/** Whether the quotas that know guests are asked for. */
export const wantsAwareQuotas = ({ spec }: HyperConverged): boolean =>
  valueAt(spec, 'deployment.applicationAwareConfig.enable') === true;

/** The spec of the AAQ object. */
export function aaqSpec({ spec }: HyperConverged): Fields {
  const at = (path: string): unknown => valueAt(spec, path);
  const config = 'deployment.applicationAwareConfig';
  return compact({
    certConfig: certificates(spec),
    infra: fieldsAt(spec, 'deployment.nodePlacements.infra'),
    workload: fieldsAt(spec, 'deployment.nodePlacements.workload'),
    priorityClass: 'kubevirt-cluster-critical',
    namespaceSelector: at(`${config}.namespaceSelector`),
    configuration: {
      vmiCalculatorConfiguration: { configName: at(`${config}.vmiCalcConfigName`) ?? 'DedicatedVirtualResources' },
      allowApplicationAwareClusterResourceQuota: at(`${config}.allowApplicationAwareClusterResourceQuota`) === true,
    },
    tlsSecurityProfile: at('security.tlsSecurityProfile'),
  });
}

/** The spec of the SSP object. */
export function sspSpec(hco: HyperConverged, topology: Topology): Fields {
  const at = (path: string): unknown => valueAt(hco.spec, path);
  const isMulti = at('workloadSources.enableMultiArchBootImageImport');
  return patchedSpec(
    hco,
    'SSP',
    compact({
      commonTemplates: {
        namespace: at('workloadSources.commonTemplatesNamespace') ?? 'openshift',
        dataImportCronTemplates: bootImageTemplates(hco, topology.workloadArchitectures).deployed,
      },
      templateValidator: compact({ replicas: 2, placement: fieldsAt(hco.spec, 'deployment.nodePlacements.infra') }),
      tokenGenerationService: { enabled: at('deployment.deployVmConsoleProxy') === true },
      cluster: {
        workloadArchitectures: topology.workloadArchitectures,
        controlPlaneArchitectures: topology.controlPlaneArchitectures,
      },
      enableMultipleArchitectures: isMulti,
      tlsSecurityProfile: at('security.tlsSecurityProfile'),
    }),
  );
}
