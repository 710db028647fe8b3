import { type UnstructuredObject, cloneJson } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';

/** A built-in plug-in sees every request; `AdmissionHandler`s name the kinds they want. */
export interface AdmissionPlugin {
  readonly name: string;
  /** Changes `object` in place. Throws StatusError to refuse. */
  mutate?(object: UnstructuredObject, request: AdmissionRequest): Promise<void> | void;
  validate?(request: AdmissionRequest, warn: (text: string) => void): Promise<void> | void;
}

/** What stands between a request and the store: mutating steps in order, later the validating ones. */
export interface AdmissionChain {
  /** The object to go on with: `request.object` itself (a private copy of the request) or a changed copy. */
  mutate(request: AdmissionRequest, warn: (text: string) => void): Promise<UnstructuredObject | undefined>;
  validate(request: AdmissionRequest, warn: (text: string) => void): Promise<void>;
}

const matches = (handler: AdmissionHandler, request: AdmissionRequest): boolean => {
  const resource = request.subresource === '' ? request.resource : `${request.resource}/${request.subresource}`;
  return handler.rules.some(
    ({ group, resources, operations }) =>
      group === request.group && resources.includes(resource) && operations.includes(request.operation),
  );
};

/** Plug-ins run before handlers when mutating and before them when validating, each in the order given. */
export function createAdmissionChain(plugins: readonly AdmissionPlugin[], handlers: readonly AdmissionHandler[]): AdmissionChain {
  return {
    async mutate(request, _warn) {
      let { object } = request;
      if (object === undefined) return undefined;
      for (const plugin of plugins) await plugin.mutate?.(object, { ...request, object });
      for (const handler of handlers) {
        if (handler.mutate === undefined || !matches(handler, request)) continue;
        const changed = await handler.mutate({ ...request, object });
        if (changed !== undefined) object = Object.isFrozen(changed) ? cloneJson(changed) : changed;
      }
      return object;
    },
    async validate(request, warn) {
      for (const plugin of plugins) await plugin.validate?.(request, warn);
      for (const handler of handlers) {
        if (handler.validate === undefined || !matches(handler, request)) continue;
        for (const warning of await handler.validate(request)) warn(warning);
      }
    },
  };
}
