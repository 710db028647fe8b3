/** Commands of TPM 2.0 with an empty password: an index of non-volatile memory is defined, written and read. */
const [OWNER, INDEX] = ['40000001', '01800001'];

function tpmCommand(code: string, handles: readonly string[], rest: string): string {
  const body = `${code}${handles.join('')}00000009${'40000009'}0000000000${rest}`;
  return `8002${(6 + body.length / 2).toString(16).padStart(8, '0')}${body}`;
}

export const TPM_DEFINE = tpmCommand('0000012a', [OWNER], `0000000e${INDEX}000b0206000600000008`);
/** Writes `kept-tpm`. */
export const TPM_WRITE = tpmCommand('00000137', [OWNER, INDEX], `0008${Buffer.from('kept-tpm').toString('hex')}0000`);
export const TPM_READ = tpmCommand('0000014e', [OWNER, INDEX], '00080000');

/** Shell command of the guest that sends one of them and prints the answer in hexadecimal. */
export const tpm = (command: string): string =>
  `exec 3<>/dev/tpm0; echo ${command} | xxd -r -p >&3; dd bs=4096 count=1 <&3 2>/dev/null | xxd -p | tr -d "\\n"; exec 3>&-; echo`;
