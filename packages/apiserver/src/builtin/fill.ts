/** Sets what is absent; present values, null included, stay. Default objects must not be shared: pass fresh ones. */
export function fillMissing<T extends object>(target: T, defaults: { readonly [K in keyof T]?: T[K] }): void {
  for (const key in defaults) {
    const value = defaults[key];
    if (target[key] === undefined && value !== undefined) target[key] = value;
  }
}
