import { type UnstructuredObject, cloneJson } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';

/** A built-in plug-in sees every request; `AdmissionHandler`s name the kinds they want. */
export interface AdmissionPlugin {
  readonly name: string;
  /** Changes `object` in place. Throws StatusError to refuse. */
  mutate?(object: UnstructuredObject, request: AdmissionRequest): Promise<void> | void;
  validate?(request: AdmissionRequest, warn: (text: string) => void): Promise<void> | void;
}

/** Brings what a webhook made of an object into form: unknown fields dropped, defaults filled. */
export type Normalize = (object: UnstructuredObject) => UnstructuredObject;

/** Admission that is configured by objects in the cluster: webhooks and policies. */
export interface DynamicAdmission {
  /** Resolves with `object` itself when nobody changed it. */
  mutate?(
    object: UnstructuredObject,
    request: AdmissionRequest,
    warn: (text: string) => void,
    normalize: Normalize,
  ): Promise<UnstructuredObject>;
  validate?(request: AdmissionRequest, warn: (text: string) => void): Promise<void>;
}

/** What stands between a request and the store: mutating steps in order, later the validating ones. */
export interface AdmissionChain {
  /** The object to go on with: `request.object` itself (a private copy of the request) or a changed copy. */
  mutate(request: AdmissionRequest, warn: (text: string) => void, normalize: Normalize): Promise<UnstructuredObject | undefined>;
  validate(request: AdmissionRequest, warn: (text: string) => void): Promise<void>;
}

const matches = (handler: AdmissionHandler, request: AdmissionRequest): boolean => {
  const resource = request.subresource === '' ? request.resource : `${request.resource}/${request.subresource}`;
  return handler.rules.some(
    ({ group, resources, operations }) =>
      group === request.group && resources.includes(resource) && operations.includes(request.operation),
  );
};

export interface AdmissionParts {
  readonly plugins: readonly AdmissionPlugin[];
  readonly handlers: readonly AdmissionHandler[];
  readonly dynamic: readonly DynamicAdmission[];
  /** Validate after everybody else has agreed (quota: what is refused must not count). */
  readonly last: readonly AdmissionPlugin[];
}

/**
 * Plug-ins come first, then handlers, then what the cluster configures. When the latter changes an object, the
 * former see it once more.
 */
export function createAdmissionChain({ plugins, handlers, dynamic, last }: AdmissionParts): AdmissionChain {
  const mutateInProcess = async (start: UnstructuredObject, request: AdmissionRequest): Promise<UnstructuredObject> => {
    let object = start;
    // a wait that is not needed costs a turn of the microtask queue, for each write and plug-in
    for (const plugin of plugins) {
      const wait = plugin.mutate?.(object, request);
      if (wait !== undefined) await wait;
    }
    for (const handler of handlers) {
      if (handler.mutate === undefined || !matches(handler, request)) continue;
      const changed = await handler.mutate({ ...request, object });
      if (changed !== undefined) object = Object.isFrozen(changed) ? cloneJson(changed) : changed;
    }
    return object;
  };
  return {
    async mutate(request, warn, normalize) {
      if (request.object === undefined) return undefined;
      const first = await mutateInProcess(request.object, request);
      let object = first;
      for (const part of dynamic) object = (await part.mutate?.(object, request, warn, normalize)) ?? object;
      return object === first ? first : mutateInProcess(object, request);
    },
    async validate(request, warn) {
      for (const plugin of plugins) {
        const wait = plugin.validate?.(request, warn);
        if (wait !== undefined) await wait;
      }
      for (const handler of handlers) {
        if (handler.validate === undefined || !matches(handler, request)) continue;
        for (const warning of await handler.validate(request)) warn(warning);
      }
      for (const part of dynamic) await part.validate?.(request, warn);
      for (const plugin of last) await plugin.validate?.(request, warn);
    },
  };
}
