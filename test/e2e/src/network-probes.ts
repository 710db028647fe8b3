// What a probe from a guest or from this machine comes to, and the names that a guest knows.
import { request } from 'node:http';
import type { GuestShell } from './guest-shell.ts';

/** Who asks: a guest by its shell, or this machine. */
export type Asker = GuestShell | 'machine';

/** What came of a request: who answered, `refused`, or `silence`. */
export interface Verdict {
  readonly answer: string;
  /** The client's address as the guest that answered sees it. */
  readonly seen: string;
}

const PATH = '/cgi-bin/who';
const SECONDS = 4;

/** Run in a guest: from then on it says at this path who it is and whom it hears. */
export const WHO_SCRIPT = `cat > /www${PATH} <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n%s hears %s\\n' "$(hostname)" "$REMOTE_ADDR"
END
chmod 755 /www${PATH}`;

function verdictOf(text: string): Verdict {
  const [, answer, seen = ''] = /(\S+) hears (\S+)/.exec(text) ?? [];
  if (answer !== undefined) return { answer, seen };
  return { answer: /refused|unreachable/i.test(text) ? 'refused' : 'silence', seen: '' };
}

/** Asks who is behind an address and port. */
export async function ask(asker: Asker, address: string, port = 80): Promise<Verdict> {
  if (asker === 'machine') return verdictOf(await askFromHere(address, port));
  const command = `printf 'GET ${PATH} HTTP/1.0\\r\\n\\r\\n' | timeout ${3 * SECONDS} nc -w ${SECONDS} ${address} ${port}`;
  return verdictOf(await asker.run(command));
}

/** A connection of its own each time, whose errors are told from each other. */
const askFromHere = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const asked = request({ host, port, path: PATH, agent: false, timeout: SECONDS * 1000 }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve(text));
      response.on('error', (error) => resolve(String(error)));
    });
    asked.on('timeout', () => asked.destroy(new Error('silence')));
    asked.on('error', (error: NodeJS.ErrnoException) =>
      resolve(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH'].includes(error.code ?? '') ? 'refused' : 'silence'),
    );
    asked.end();
  });

/** The addresses that the guest's resolver has for a name, search domains tried; sorted. */
export async function lookUp(guest: GuestShell, name: string, type: 'a' | 'aaaa' = 'a'): Promise<string[]> {
  const text = await guest.run(`nslookup -type=${type} ${name}`);
  const found = [...text.matchAll(/^Name:.*\nAddress: (\S+)$/gm)].map(([, address = '']) => address);
  return [...new Set(found)].toSorted();
}
