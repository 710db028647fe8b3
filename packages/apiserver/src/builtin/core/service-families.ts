import { type core, type Service } from '@slipway/api';
import { type FieldError, invalidValue } from '@slipway/apimachinery';
import { familyOf } from './ip-range.ts';

type Family = 'IPv4' | 'IPv6';

/**
 * Decides families and policy of a Service from what it says, as kube-apiserver does, and writes them into it. What was not
 * asked for stays open; the errors say what cannot be had here.
 */
export function settleFamilies(spec: core.ServiceSpec, configured: readonly Family[]): FieldError[] {
  const { clusterIPs = [], ipFamilies: asked = [] } = spec;
  const named = clusterIPs.flatMap((address) => familyOf(address) ?? []);
  const isSelectorless = spec.clusterIP === 'None' && Object.keys(spec.selector ?? {}).length === 0;
  const wantsTwo = asked.length === 2 || named.length === 2 || (isSelectorless && asked.length === 0);
  spec.ipFamilyPolicy ||= wantsTwo ? 'RequireDualStack' : 'SingleStack';
  const [families = []] = [asked, named, configured.slice(0, 1)].filter((list) => list.length > 0);
  const errors = refusals(spec, families, configured, isSelectorless);
  if (errors.length > 0) return errors;
  const others = (['IPv4', 'IPv6'] as const).filter(
    (one) => !families.includes(one) && (configured.includes(one) || isSelectorless),
  );
  spec.ipFamilies = spec.ipFamilyPolicy === 'SingleStack' ? families.slice(0, 1) : [...families, ...others];
  return [];
}

function refusals(
  { ipFamilyPolicy, clusterIPs = [] }: core.ServiceSpec,
  families: readonly string[],
  configured: readonly Family[],
  isSelectorless: boolean,
): FieldError[] {
  const errors: FieldError[] = [];
  if (ipFamilyPolicy === 'SingleStack') {
    const text = 'may only hold one value when `ipFamilyPolicy` is `SingleStack`';
    if (families.length > 1) errors.push(invalidValue('spec.ipFamilies', families, text));
    if (clusterIPs.length > 1) errors.push(invalidValue('spec.clusterIPs', clusterIPs, text));
  }
  // names without addresses of their own are nobody's to refuse
  if (isSelectorless) return errors;
  families.forEach((family, index) => {
    if (configured.some((one) => one === family)) return;
    errors.push(invalidValue(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster'));
  });
  if (ipFamilyPolicy === 'RequireDualStack' && configured.length < 2) {
    const text = 'this cluster is not configured for dual-stack services';
    errors.push(invalidValue('spec.ipFamilyPolicy', ipFamilyPolicy, text));
  }
  return errors;
}

const POLICIES = ['SingleStack', 'PreferDualStack', 'RequireDualStack'];

/** What families, policy and cluster addresses say for themselves. */
export function validateFamilies({ spec = {} }: Service): FieldError[] {
  const errors: FieldError[] = [];
  const { clusterIP, clusterIPs = [], ipFamilies = [], ipFamilyPolicy } = spec;
  if (ipFamilyPolicy && !POLICIES.includes(ipFamilyPolicy)) {
    const supported = POLICIES.map((policy) => `"${policy}"`).join(', ');
    errors.push(invalidValue('spec.ipFamilyPolicy', ipFamilyPolicy, `supported values: ${supported}`));
  }
  ipFamilies.forEach((family, index) => {
    if (family !== 'IPv4' && family !== 'IPv6')
      errors.push(invalidValue(`spec.ipFamilies[${index}]`, family, 'must be IPv4 or IPv6'));
    else if (ipFamilies.indexOf(family) < index) errors.push(invalidValue(`spec.ipFamilies[${index}]`, family, 'is named twice'));
  });
  if (!clusterIP && clusterIPs.length > 0)
    errors.push(invalidValue('spec.clusterIPs', clusterIPs, 'must be empty when `clusterIP` is not specified'));
  else if (clusterIPs.length > 0 && clusterIPs[0] !== clusterIP)
    errors.push(invalidValue('spec.clusterIPs', clusterIPs, 'first value must match `clusterIP`'));
  if (clusterIPs.length > 2) errors.push(invalidValue('spec.clusterIPs', clusterIPs, 'may only hold up to 2 values'));
  if (clusterIPs.length === 2 && familyOf(clusterIPs[0] ?? '') === familyOf(clusterIPs[1] ?? ''))
    errors.push(invalidValue('spec.clusterIPs', clusterIPs, 'may specify no more than one IP for each IP family'));
  clusterIPs.forEach((address, index) => {
    const family = familyOf(address);
    if (family && ipFamilies[index] && family !== ipFamilies[index])
      errors.push(
        invalidValue(
          `spec.clusterIPs[${index}]`,
          address,
          `expected an ${ipFamilies[index]} value as indicated by \`ipFamilies[${index}]\``,
        ),
      );
  });
  return errors;
}
