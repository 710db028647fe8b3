import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import { CLUSTER_DOMAIN, type QuestionType, type Zone } from './zone.ts';

const SERVFAIL = 2;
const NXDOMAIN = 3;
/** What a client without EDNS takes by UDP. */
export const UDP_BYTES = 512;

/** Asks a server elsewhere; undefined when none answered. */
export type Forward = (query: Buffer) => Promise<Buffer | undefined>;

/** The answer to one message: from the zone, else from elsewhere. Undefined for what is no question. */
export async function answerQuery(query: Buffer, zone: Zone, forward: Forward): Promise<Buffer | undefined> {
  const packet = decoded(query);
  const [question] = packet?.questions ?? [];
  if (packet === undefined || packet.type !== 'query' || question === undefined) return undefined;
  const found = zone.lookUp(question.name, question.type);
  if (found === undefined) return (await forward(query)) ?? response(packet, { code: SERVFAIL, answers: [] });
  const aliased = found.alias === undefined ? [] : await followed(found.alias, question.type, { zone, forward });
  return response(packet, {
    code: found.exists ? 0 : NXDOMAIN,
    answers: [...found.answers, ...aliased],
    ...(found.answers.length === 0 && { isEmpty: true }),
  });
}

/** Cuts an answer that is too long for UDP: the client asks again by TCP. */
export function fitUdp(answer: Buffer, query: Buffer): Buffer {
  if (answer.length <= UDP_BYTES) return answer;
  const limit = Math.max(UDP_BYTES, Math.min(udpSizeOf(query), 4096));
  if (answer.length <= limit) return answer;
  const packet = decoded(answer);
  if (packet === undefined) return answer;
  return encode({ ...packet, answers: [], authorities: [], additionals: [], flags: (packet.flags ?? 0) | TRUNCATED_RESPONSE });
}

function response(
  query: Packet,
  { code, answers, isEmpty = false }: { code: number; answers: readonly Answer[]; isEmpty?: boolean },
): Buffer {
  const authority: Answer = {
    ...{ name: CLUSTER_DOMAIN, type: 'SOA', ttl: 5 },
    data: {
      mname: `ns.dns.${CLUSTER_DOMAIN}`,
      rname: `hostmaster.${CLUSTER_DOMAIN}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: 5,
    },
  };
  const isDesired = ((query.flags ?? 0) & RECURSION_DESIRED) !== 0;
  return encode({
    type: 'response',
    ...(query.id !== undefined && { id: query.id }),
    flags: AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | (isDesired ? RECURSION_DESIRED : 0) | code,
    questions: query.questions ?? [],
    answers: [...answers],
    ...(isEmpty && { authorities: [authority] }),
  });
}

/** Aliases that are followed for one question; more are a circle. */
const MAX_ALIASES = 8;

/** What an alias leads to, for clients that do not follow it themselves: in the cluster, or outside. */
async function followed(
  alias: string,
  type: QuestionType,
  { zone, forward }: { readonly zone: Zone; readonly forward: Forward },
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let name = alias, times = 0; times < MAX_ALIASES; times++) {
    const found = zone.lookUp(name, type);
    if (found === undefined) return [...answers, ...(await addressesOutside(name, type, forward))];
    answers.push(...found.answers);
    if (found.alias === undefined) return answers;
    name = found.alias;
  }
  return answers;
}

async function addressesOutside(name: string, type: QuestionType, forward: Forward): Promise<Answer[]> {
  if (type !== 'A' && type !== 'AAAA') return [];
  const query = encode({ type: 'query', id: 1, flags: RECURSION_DESIRED, questions: [{ name, type }] });
  const answer = await forward(query);
  return (answer && decoded(answer)?.answers) || [];
}

/** Whoever asks may send anything. */
function decoded(bytes: Buffer): Packet | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}

function udpSizeOf(query: Buffer): number {
  const option = decoded(query)?.additionals?.find(({ type }) => type === 'OPT');
  return option?.type === 'OPT' ? option.udpPayloadSize : UDP_BYTES;
}
