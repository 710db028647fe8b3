import { DataSourceKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import { type ActionContext, addCommand, type CommandHost } from '../context.ts';
import { print } from '../io.ts';
import { basename } from 'node:path';
import { findProxy, send } from './send.ts';
import { parseUpload, type UploadFlags, type UploadRequest, uploadOptions } from './upload-flags.ts';
import { ensureVolume, instancetypeLabels, waitUntilProcessed, waitUntilReady } from './volume.ts';

/** image-upload: a disk image of this machine into a volume of the cluster. */
export function addImageUploadCommand(host: CommandHost): void {
  addCommand<UploadFlags>(host, {
    usage: 'image-upload [kind] [name]',
    description: 'Upload a disk image to a DataVolume or a claim (dv|pvc NAME).',
    options: uploadOptions,
    run: (context, args, flags) => upload(context, parseUpload(args, flags)),
  });
}

async function upload(context: ActionContext, request: UploadRequest): Promise<void> {
  const { io } = context;
  await ensureVolume(context, request);
  await waitUntilReady(context, request);
  await send(context, await findProxy(context, request), request);
  if (request.flags.datasource === true) await ensureDataSource(context, request);
  print(
    io,
    'Uploading data completed successfully, waiting for processing to complete, you can hit ctrl-c without interrupting the progress',
  );
  await waitUntilProcessed(context, request.name);
  print(io, 'Processing completed successfully');
  print(io, `Uploading ${basename(request.file)} completed successfully`);
}

/** A DataSource of the volume's name that points at it. */
async function ensureDataSource({ client, namespace, io }: ActionContext, { name, flags }: UploadRequest): Promise<void> {
  const labels = instancetypeLabels(flags);
  const spec = { source: { pvc: { name, namespace } } };
  try {
    await client.patch(DataSourceKind, { namespace, name }, { metadata: { labels }, spec }, { type: 'merge' });
    print(io, `DataSource ${namespace}/${name} updated`);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const metadata = { name, namespace, ...(Object.keys(labels).length > 0 && { labels }) };
    await client.create(DataSourceKind, { apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataSource', metadata, spec });
    print(io, `DataSource ${namespace}/${name} created`);
  }
}
