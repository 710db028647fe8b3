/** A number, or the share `NN%` of `total`, rounded up or down. */
export function scaledValue(value: number | string | undefined, total: number, isRoundedUp: boolean): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value)?.[1];
  if (percent === undefined) return undefined;
  const exact = (Number(percent) * total) / 100;
  return isRoundedUp ? Math.ceil(exact) : Math.floor(exact);
}
