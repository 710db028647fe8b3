import { NamespaceKind } from '@slipway/api';
import { formatTime, isTerminating } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, sleep } from '@slipway/runtime';
import { createOnce } from '../components/create-once.ts';
import { defaultCatalogSources, MARKETPLACE } from './catalogue.ts';
import { CatalogSourceKind } from './kinds.ts';

/** Catalogues come after what somebody waits for at a start. */
const START_AFTER_MS = 2_000;
const READY = 'READY';
const CATALOGUES = { namespace: '', name: 'default-catalogues' };

/** Makes the CatalogSources that manifests name, and answers for all there are: each offers the built-in catalogue. */
export const catalogSourceController: ControllerRegistration = {
  name: 'olm-catalogues',
  rules: [...allow('get create', NamespaceKind, CatalogSourceKind), ...allow('update', [CatalogSourceKind, 'status'])],
  create({ client, clock, informers }) {
    const sources = informers.lister(CatalogSourceKind);
    return {
      kind: CatalogSourceKind,
      concurrency: 1,
      reconciler: {
        async reconcile(key, signal) {
          if (key.name === CATALOGUES.name && key.namespace === '') {
            await createOnce(client, NamespaceKind, marketplace(), signal);
            for (const source of defaultCatalogSources()) await createOnce(client, CatalogSourceKind, source, signal);
            return done;
          }
          const source = sources.get(key);
          if (source === undefined || isTerminating(source)) return done;
          if (source.status?.connectionState?.lastObservedState === READY) return done;
          const status = {
            ...source.status,
            connectionState: { lastObservedState: READY, lastConnect: formatTime(clock.now()) },
          };
          await client.update(CatalogSourceKind, { ...source, status }, { subresource: 'status', signal });
          return done;
        },
      },
      async run(queue, signal) {
        await sleep(clock, START_AFTER_MS, signal).catch(() => {});
        if (!signal.aborted) queue.add(CATALOGUES);
      },
    };
  },
};

const marketplace = () => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: MARKETPLACE } });
