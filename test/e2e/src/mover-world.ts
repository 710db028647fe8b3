import { createHash, randomBytes } from 'node:crypto';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { instanceFile } from './moving-guest.ts';
import { guestImage, type Platform, startPlatform } from './platform.ts';
import { diskLayer } from './push-image.ts';
import { type SmallRegistry, startSmallRegistry } from './small-registry.ts';

const MIB = 1024 ** 2;
/** Where in the disk of a container the picture is. */
export const PICTURE_MIB = 15;

/** Several nodes, and what guests that move between them are made of. */
export interface MoverWorld {
  readonly platform: Platform;
  readonly imageUrl: string;
  /** The same guest with a kernel that boots on any firmware. */
  readonly genericUrl: string;
  /** Image of a disk with a picture in it, and the picture's sum. */
  readonly picture: { readonly image: string; readonly md5: string };
  /** Settings of the migrations of guests whose label `app` is this; on a busy machine they take their time. */
  pace(app: string, settings?: object): Promise<void>;
  close(): Promise<void>;
}

/** Starts that world; what cannot be started is taken down again. */
export async function startMoverWorld(nodes: number, hasGeneric = false): Promise<MoverWorld> {
  const tiny = await guestImage('tiny');
  const generic = hasGeneric ? await guestImage('tiny-generic') : tiny;
  const platform = await startPlatform({ nodes });
  let images: ImageServer | undefined;
  let registry: SmallRegistry | undefined;
  const close = async (): Promise<void> => {
    await images?.close();
    await registry?.close();
    await platform.destroy();
  };
  try {
    const { hostV4 } = instanceFile(platform).link;
    images = await serveImages({ '/tiny.qcow2': tiny.qcow2Path, '/generic.qcow2': generic.qcow2Path }, hostV4);
    registry = await startSmallRegistry(hostV4);
    const picture = randomBytes(MIB);
    registry.tag('picture', [diskLayer('disk.img', Buffer.concat([Buffer.alloc(PICTURE_MIB * MIB), picture]))]);
    const insecure = JSON.stringify({ spec: { storageImport: { insecureRegistries: [registry.host] } } });
    await platform.kubectl('-n', 'openshift-cnv', 'patch', 'hco', 'kubevirt-hyperconverged', '--type=merge', '-p', insecure);
    return {
      platform,
      imageUrl: `${images.url}/tiny.qcow2`,
      genericUrl: `${images.url}/generic.qcow2`,
      picture: { image: `${registry.host}/picture:latest`, md5: createHash('md5').update(picture).digest('hex') },
      async pace(app, settings = {}) {
        const kind_ = { apiVersion: 'migrations.kubevirt.io/v1alpha1', kind: 'MigrationPolicy' };
        const spec = { selectors: { virtualMachineInstanceSelector: { app } }, completionTimeoutPerGiB: 600, ...settings };
        await platform.apply({ ...kind_, metadata: { name: `pace-${app}` }, spec });
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A DataVolume of 16 MiB with nothing in it. */
export const blankVolume = (name: string, storageClassName: string): object => ({
  ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name } },
  spec: { source: { blank: {} }, storage: { storageClassName, resources: { requests: { storage: '16Mi' } } } },
});
