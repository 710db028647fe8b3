/** Variables of an image that speak of the disk in it, such as `INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE`. */
const VARIABLE = /^([A-Z0-9]+(?:_[A-Z0-9]+)*?)_KUBEVIRT_IO_([A-Z0-9_]+)=(.+)$/;
const LABEL_VALUE = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const MAX_LABELS = 32;

/**
 * Labels that an image gives its disk by the environment in its configuration: `A_B_KUBEVIRT_IO_C_D=x` is
 * `a.b.kubevirt.io/c-d: x`. What is no label is passed over: a stranger wrote it.
 */
export function imageLabels(config: unknown): Record<string, string> {
  const { config: inner } = (config ?? {}) as { config?: { Env?: unknown } }; // checked below
  const env = Array.isArray(inner?.Env) ? inner.Env : [];
  const labels = env.flatMap((line: unknown) => {
    const [, prefix = '', name = '', value = ''] = (typeof line === 'string' && VARIABLE.exec(line)) || [];
    const key = `${prefix.toLowerCase().replaceAll('_', '.')}.kubevirt.io/${name.toLowerCase().replaceAll('_', '-')}`;
    return prefix !== '' && LABEL_VALUE.test(value) && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(key.split('/')[1] ?? '')
      ? [[key, value] as const]
      : [];
  });
  return Object.fromEntries(labels.slice(0, MAX_LABELS));
}
