import type { Logger, TimerClock } from '@slipway/runtime';
import type { ApiServer, ListenOptions } from '@slipway/apiserver';

type Listener = Awaited<ReturnType<ApiServer['listen']>>;

export interface LinkListener {
  renewTls(tls: ListenOptions['tls']): void;
}

const RETRY_MS = 2_000;

/**
 * Listens where nodes reach the API. The link may be missing for a moment, or be made anew under a server that runs: the
 * API for everybody else does not wait for it.
 */
export function listenOnLink(
  { api, clock, log }: { readonly api: Pick<ApiServer, 'listen'>; readonly clock: TimerClock; readonly log: Logger },
  options: ListenOptions,
  signal: AbortSignal,
): LinkListener {
  let { tls } = options;
  let listener: Listener | undefined;
  const attempt = (isFirst: boolean): void => {
    api.listen({ ...options, tls }).then(
      (listening) => {
        listener = listening;
      },
      (error: unknown) => {
        if (isFirst) log.error({ error: String(error), host: options.host }, 'cannot listen on the link of the nodes');
        if (!signal.aborted) clock.setTimer(RETRY_MS, () => signal.aborted || attempt(false));
      },
    );
  };
  attempt(true);
  return {
    renewTls(renewed) {
      tls = renewed;
      listener?.renew(renewed);
    },
  };
}
