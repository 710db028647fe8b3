import type { Client } from '@slipway/client';

/**
 * Parts of the API server (aggregated APIs, admission) need a client of that same server: they get this one, which
 * works as soon as the server exists.
 */
export function deferredClient(get: () => Client): Client {
  return {
    get: (kind, key, options) => get().get(kind, key, options),
    list: (kind, options) => get().list(kind, options),
    create: (kind, object, options) => get().create(kind, object, options),
    update: (kind, object, options) => get().update(kind, object, options),
    patch: (kind, key, patch, options) => get().patch(kind, key, patch, options),
    delete: (kind, key, options) => get().delete(kind, key, options),
    deleteCollection: (kind, list, options) => get().deleteCollection(kind, list, options),
    watch: (kind, options) => get().watch(kind, options),
    raw: (request) => get().raw(request),
    connect: (request) => get().connect(request),
  };
}
