const isUpper = (char: string): boolean => char !== char.toLowerCase();
const isDigit = (char: string): boolean => /\d/.test(char);

/** First letter of each word in upper case. */
export const titleCase = (text: string): string =>
  text.replace(/(^|[^\p{L}\p{N}_'])(\p{Ll})/gu, (_all, before: string, first: string) => before + first.toUpperCase());

/** Upper case for lower case and the other way round. */
export const swapCase = (text: string): string =>
  Array.from(text)
    .map((char) => (isUpper(char) ? char.toLowerCase() : char.toUpperCase()))
    .join('');

export const snakeCase = (text: string): string => splitWords(text).join('_');
export const kebabCase = (text: string): string => splitWords(text).join('-');

/** Words of a name in any case style, in lower case. */
function splitWords(text: string): string[] {
  return text
    .split(/[\s_.-]+/)
    .flatMap(splitHumps)
    .map((word) => word.toLowerCase());
}

function splitHumps(text: string): string[] {
  const words: string[] = [];
  const chars = Array.from(text);
  let word = '';
  chars.forEach((char, index) => {
    if (word !== '' && startsWord(chars, index, word)) {
      words.push(word);
      word = '';
    }
    word += char;
  });
  return word === '' && words.length > 0 ? words : [...words, word];
}

function startsWord(chars: readonly string[], index: number, word: string): boolean {
  const [char = '', before = '', after = ''] = [chars[index], chars[index - 1], chars[index + 1]];
  if (isDigit(char)) {
    if (isDigit(before) || isDigit(word.charAt(0))) return false;
    const next = chars.slice(index).find((other) => !isDigit(other)) ?? '';
    return next !== '' && !isUpper(next) && /\p{L}/u.test(next);
  }
  if (!isUpper(char)) return false;
  // the last capital of an acronym begins the next word
  return !isUpper(before) || (after !== '' && !isUpper(after) && !isDigit(after));
}

/** Upper camel case of words that underscores, hyphens or spaces divide. */
export function camelCase(text: string): string {
  const [, head = '', body = '', tail = ''] = /^([_\s-]*)([^]*?)([_\s-]*)$/.exec(text) ?? [];
  const inner = body
    .split(/[_\s-]/)
    .map((word) => (word === '' ? '_' : word.charAt(0).toUpperCase() + word.slice(1)))
    .join('');
  return head + inner + tail;
}

/** A text of at most `width` characters, with dots for what is left out, from about `offset` on. */
export function abbreviate(text: string, offset: number, width: number): string {
  if (width < 4 || (offset > 0 && width < 7) || text.length <= width) return text;
  const room = width - 3;
  let from = Math.min(offset, text.length);
  if (text.length - from < room) from = text.length - room;
  if (from <= 4) return `${text.slice(0, room)}...`;
  if (from + room < text.length) return `...${abbreviate(text.slice(from), 0, room)}`;
  return `...${text.slice(text.length - room)}`;
}

/** Breaks lines at the last space before the width; longer words stay whole unless they are to be broken too. */
export function wrapText(text: string, width: number, newline: string, breaksWords: boolean): string {
  const limit = Math.max(width, 1);
  const separator = newline === '' ? '\n' : newline;
  let [at, out] = [0, ''];
  while (text.length - at > limit) {
    if (text[at] === ' ') {
      at++;
      continue;
    }
    const space = text.lastIndexOf(' ', at + limit);
    if (space >= at) {
      out += text.slice(at, space) + separator;
      at = space + 1;
    } else if (breaksWords) {
      out += text.slice(at, at + limit) + separator;
      at += limit;
    } else {
      const next = text.indexOf(' ', at + limit);
      if (next === -1) break;
      out += text.slice(at, next) + separator;
      at = next + 1;
    }
  }
  return out + text.slice(at);
}
