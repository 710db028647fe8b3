/** Says on stderr what goes on; a step that takes longer than a second shows how long. */
export interface Progress {
  step(text: string): void;
  /** A detail of the current step, for example bytes done; replaces the previous one on a terminal. */
  detail(text: string): void;
  done(text?: string): void;
}

export function createProgress(stream: NodeJS.WriteStream, now: () => number): Progress {
  let startedAt = 0;
  let current = '';
  let shownAt = 0;
  const clear = stream.isTTY ? '\r\x1b[2K' : '';
  const finish = () => {
    if (current === '') return;
    const seconds = (now() - startedAt) / 1000;
    stream.write(`${clear}  ${current}${seconds >= 1 ? ` (${seconds.toFixed(1)} s)` : ''}\n`);
    current = '';
  };
  return {
    step(text) {
      finish();
      current = text;
      startedAt = now();
      if (stream.isTTY) stream.write(`  ${text} …`);
    },
    detail(text) {
      if (stream.isTTY) stream.write(`${clear}  ${current}: ${text}`);
      else if (now() - shownAt > 5000) {
        shownAt = now();
        stream.write(`  ${current}: ${text}\n`);
      }
    },
    done(text) {
      finish();
      if (text !== undefined) stream.write(`${text}\n`);
    },
  };
}
