import { AgentTrouble } from '@slipway/api';
import { ERROR_CODE, LibvirtError } from '../libvirt/index.ts';
import { type AnswerProblem, MAX_ANSWER_BYTES, MAX_LIST, text } from './bounded.ts';

/** How a guest's agent goes beyond what is read of it, in words for people. */
export interface AgentProblem {
  readonly reason: (typeof AgentTrouble)[keyof typeof AgentTrouble];
  readonly message: string;
}

const REMEDY =
  'Restart or update qemu-guest-agent in the guest; if that does not help, the guest is broken or hostile and its word should not be trusted';

const problem = (reason: AgentProblem['reason'], what: string): AgentProblem => ({ reason, message: `${what}. ${REMEDY}` });

/** What to say of an answer that was not read. */
export function answerProblem(command: string, kind: AnswerProblem): AgentProblem {
  return kind === 'too-long'
    ? problem(
        AgentTrouble.answerTooLong,
        `The guest agent answered ${command} with more than ${MAX_ANSWER_BYTES} bytes, which is not read`,
      )
    : problem(AgentTrouble.answerMalformed, `The guest agent answered ${command} with what is no answer, which is not read`);
}

/** What to say of a list of which only the start is looked at; undefined when it is short enough. */
export function listProblem(command: string, value: unknown): AgentProblem | undefined {
  if (!Array.isArray(value) || value.length <= MAX_LIST) return undefined;
  return problem(
    AgentTrouble.listTooLong,
    `The guest agent listed more than ${MAX_LIST} entries for ${command}, of which the first are shown`,
  );
}

const NO_WORD: readonly number[] = [ERROR_CODE.agentUnresponsive, ERROR_CODE.agentUnsynced];
const NOT_JSON = /json|parse|malformed|unexpected|exceed/i;

/** What to say of a call that libvirt gave up; undefined for a refusal in good order, such as a command that is disabled. */
export function failureProblem(command: string, error: unknown): AgentProblem | undefined {
  if (!(error instanceof LibvirtError)) return undefined;
  const words = text(error.message) ?? 'no reason given';
  if (NO_WORD.includes(error.code))
    return problem(AgentTrouble.noAnswer, `The guest agent is connected but does not answer ${command} (${words})`);
  // libvirt quotes what it could not read, and that is the guest's word
  if (error.code === ERROR_CODE.internal && NOT_JSON.test(words))
    return problem(AgentTrouble.answerMalformed, `libvirt could not read the guest agent's answer to ${command}`);
  return undefined;
}
