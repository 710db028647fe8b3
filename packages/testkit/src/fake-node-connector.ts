import type { Duplex } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';
import type { NodeCall, NodeConnector } from '@slipway/runtime';

export interface FakeNodeConnector extends NodeConnector {
  /** Every call and stream so far, as `node verb`. */
  readonly calls: string[];
  /** Answers calls of a verb on any node. */
  onCall(verb: string, answer: (params: NodeCall['params'], node: string) => unknown): void;
  onOpen(verb: string, answer: (params: NodeCall['params'], node: string) => Duplex): void;
}

/** Nodes that answer what a test says; all other calls fail as those to a node that is not connected. */
export function fakeNodeConnector(): FakeNodeConnector {
  const calls: string[] = [];
  const answers = new Map<string, (params: NodeCall['params'], node: string) => unknown>();
  const streams = new Map<string, (params: NodeCall['params'], node: string) => Duplex>();
  const take = <A>(from: Map<string, A>, node: string, { verb }: NodeCall): A => {
    calls.push(`${node} ${verb}`);
    const answer = from.get(verb);
    if (answer === undefined) {
      throw new StatusError({ code: 503, reason: 'ServiceUnavailable', message: `Node "${node}" is not connected` });
    }
    return answer;
  };
  return {
    calls,
    onCall: (verb, answer) => void answers.set(verb, answer),
    onOpen: (verb, answer) => void streams.set(verb, answer),
    call: async (node, call) => take(answers, node, call)(call.params, node),
    open: async (node, call) => take(streams, node, call)(call.params, node),
  };
}
