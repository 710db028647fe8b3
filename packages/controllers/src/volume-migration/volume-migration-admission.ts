import type { VirtualMachine } from '@slipway/api';
import { deepEqual, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';
import type { AdmissionDeps } from '../admission/deps.ts';
import { refuseFor } from '../admission/refuse.ts';
import { claimNameOf, recordChange, withRecord } from './migration-record.ts';

const VALIDATOR = 'virtualmachine-validator.kubevirt.io';
const asVm = (object: UnstructuredObject): VirtualMachine => object as unknown as VirtualMachine; // schema-checked

/** Writes down, with the change itself, which volumes of a VM move to another claim. */
export function volumeMigrationHandler({ isPlatform }: Pick<AdmissionDeps, 'isPlatform'>): AdmissionHandler {
  return {
    name: 'volume-migration',
    rules: [{ group: 'kubevirt.io', resources: ['virtualmachines'], operations: ['CREATE', 'UPDATE'] }],

    async mutate({ object, oldObject, user }) {
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
      // a new VM has nothing to move, whatever it was copied from
      const [next, old] = [asVm(object), asVm(oldObject ?? object)];
      // the controller takes off what is done; its own writes change no spec
      if (oldObject !== undefined && isPlatform(user) && deepEqual(next.spec, old.spec)) return undefined;
      const before = object.metadata.annotations ?? {};
      const annotations = withRecord(before, oldObject === undefined ? {} : recordChange(old, next));
      return deepEqual(before, annotations) ? undefined : { ...object, metadata: { ...object.metadata, annotations } };
    },

    async validate({ object, oldObject }) {
      if (object === undefined || oldObject === undefined) return [];
      const plugged = pluggedAndMoved(asVm(oldObject), asVm(object));
      refuseFor(
        VALIDATOR,
        plugged.map((name) => ({
          reason: 'FieldValueInvalid',
          message: `volume ${name} is plugged into the running VM: stop the VM, or unplug the volume, before it moves to another claim`,
          field: 'spec.template.spec.volumes',
        })),
      );
      return [];
    },
  };
}

/** Hotplug would exchange the disk of a running guest for an empty one at once. */
function pluggedAndMoved(old: VirtualMachine, next: VirtualMachine): readonly string[] {
  if (next.spec.updateVolumesStrategy !== 'Migration' || old.status?.created !== true) return [];
  const before = new Map((old.spec.template.spec?.volumes ?? []).map((volume) => [volume.name, claimNameOf(volume)]));
  return (next.spec.template.spec?.volumes ?? [])
    .filter((volume) => volume.dataVolume?.hotpluggable === true || volume.persistentVolumeClaim?.hotpluggable === true)
    .filter((volume) => before.get(volume.name) !== undefined && before.get(volume.name) !== claimNameOf(volume))
    .map(({ name }) => name);
}
