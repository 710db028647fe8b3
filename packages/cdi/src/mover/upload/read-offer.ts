import type { UploadOffer } from '../../upload/frames.ts';

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
const ID = /^[\x21-\x7e]{1,128}$/;

/** The offer in a question of the proxy; a text says what is wrong with it. */
export function readOffer(question: Readonly<Record<string, unknown>>): UploadOffer | string {
  const { isAsync, offset } = question;
  const [totalBytes, id, checksum] = [question['totalBytes'], question['id'], question['checksum']];
  if (question['kind'] !== 'upload') return 'the upload server does not know this question';
  if (!isCount(offset) || !isAbsentOr(isCount, totalBytes)) return 'offsets and lengths are whole numbers';
  if (!isAbsentOr(isId, id)) return 'Upload-Id consists of 1 to 128 visible ASCII characters';
  if (!isAbsentOr(isText, checksum)) return 'the checksum is not text';
  if (id !== undefined && totalBytes === undefined) return 'an upload that is to be resumed must say its length';
  if (totalBytes !== undefined && offset > totalBytes) return 'Upload-Offset is beyond the end of the file';
  return {
    isAsync: isAsync === true,
    offset,
    ...(totalBytes !== undefined && { totalBytes }),
    ...(id !== undefined && { id }),
    ...(checksum !== undefined && { checksum }),
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isId = (value: unknown): value is string => isText(value) && ID.test(value);

const isAbsentOr = <T>(is: (value: unknown) => value is T, value: unknown): value is T | undefined =>
  value === undefined || is(value);
