import type { core, kubevirt } from '@slipway/api';
import { type Cause, dnsSubdomainFaults, invalid, notSupported, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const NAME_PART = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const NAME_PART_TEXT =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/** What is wrong with a label key; empty when nothing is. */
export function labelKeyFaults(key: string): readonly string[] {
  const slash = key.lastIndexOf('/');
  const name = key.slice(slash + 1);
  const prefix = slash < 0 ? [] : dnsSubdomainFaults(key.slice(0, slash)).map((fault) => `prefix part ${fault}`);
  return [
    ...prefix,
    ...(name === '' ? ['name part must be non-empty'] : []),
    ...(name.length > 63 ? ['name part must be no more than 63 characters'] : []),
    ...(NAME_PART.test(name) ? [] : [NAME_PART_TEXT]),
  ];
}

const at = (field: string, text: string): Cause => invalid(field, `${field}: ${text}`);
const badKey = (field: string, key: string): Cause[] =>
  labelKeyFaults(key).map((fault) => at(field, `Invalid value: ${JSON.stringify(key)}: ${fault}`));

const SELECTOR_OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'];

function checkSelector(field: string, selector: core.PodAffinityTerm['labelSelector']): readonly Cause[] {
  const expressions = selector?.matchExpressions ?? [];
  return [
    ...Object.keys(selector?.matchLabels ?? {}).flatMap((key) => badKey(`${field}.matchLabels`, key)),
    ...expressions.flatMap((expression, index) =>
      SELECTOR_OPERATORS.includes(expression.operator)
        ? []
        : [
            at(
              `${field}.matchExpressions[${index}].operator`,
              `Invalid value: ${JSON.stringify(expression.operator)}: not a valid selector operator`,
            ),
          ],
    ),
    ...checkExpressions(field, expressions),
  ];
}

function checkTerm(field: string, term: core.PodAffinityTerm): readonly Cause[] {
  const key = term.topologyKey;
  return [
    ...checkSelector(`${field}.labelSelector`, term.labelSelector),
    ...(key === '' ? [at(`${field}.topologyKey`, 'Required value: can not be empty')] : []),
    ...badKey(`${field}.topologyKey`, key),
  ];
}

function checkPodAffinity(field: string, affinity: core.PodAffinity | undefined): readonly Cause[] {
  const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const preferred = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return [
    ...required.flatMap((term, index) => checkTerm(`${field}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`, term)),
    ...preferred.flatMap(({ weight, podAffinityTerm }, index) => {
      const own = `${field}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      const outside = weight < 1 || weight > 100;
      return [
        ...(outside ? [at(`${own}.weight`, `Invalid value: ${weight}: must be in the range 1-100`)] : []),
        ...checkTerm(`${own}.podAffinityTerm`, podAffinityTerm),
      ];
    }),
  ];
}

function checkExpressions(field: string, expressions: readonly core.NodeSelectorRequirement[] | undefined): readonly Cause[] {
  return (expressions ?? []).flatMap(({ key, operator, values = [] }, index) => {
    const own = `${field}.matchExpressions[${index}]`;
    const wantsValues = operator === 'In' || operator === 'NotIn';
    const wantsNone = operator === 'Exists' || operator === 'DoesNotExist';
    return [
      ...(wantsValues && values.length === 0
        ? [at(`${own}.values`, "Required value: must be specified when `operator` is 'In' or 'NotIn'")]
        : []),
      ...(wantsNone && values.length > 0
        ? [at(`${own}.values`, "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'")]
        : []),
      ...badKey(`${own}.key`, key),
    ];
  });
}

function checkPreferredNodes(affinity: core.NodeAffinity | undefined): readonly Cause[] {
  return (affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).flatMap(({ weight, preference }, index) => {
    const field = `spec.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    const outside = weight < 1 || weight > 100;
    return [
      ...(outside ? [at(`${field}.weight`, `Invalid value: ${weight}: must be in the range 1-100`)] : []),
      ...checkExpressions(`${field}.preference`, preference.matchExpressions),
    ];
  });
}

function checkNodeAffinity(affinity: core.NodeAffinity | undefined): readonly Cause[] {
  const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return [];
  const field = 'spec.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms';
  if (required.nodeSelectorTerms.length === 0) return [at(field, 'Required value: must have at least one node selector term')];
  return required.nodeSelectorTerms.flatMap((term, index) => checkExpressions(`${field}[${index}]`, term.matchExpressions));
}

function checkTolerations(tolerations: readonly core.Toleration[] | undefined): readonly Cause[] {
  return (tolerations ?? []).flatMap(({ key, operator, value, effect, tolerationSeconds }, index) => {
    const field = `spec.tolerations[${index}]`;
    return [
      ...(key ? badKey(`${field}.key`, key) : []),
      ...(!key && operator !== 'Exists'
        ? [
            at(
              `${field}.operator`,
              `Invalid value: ${JSON.stringify(operator ?? '')}: operator must be Exists when \`key\` is empty, which means "match all values and all keys"`,
            ),
          ]
        : []),
      ...(operator === 'Exists' && value
        ? [at(`${field}.operator`, `Invalid value: ${JSON.stringify(value)}: value must be empty when \`operator\` is 'Exists'`)]
        : []),
      ...(tolerationSeconds !== undefined && effect !== 'NoExecute'
        ? [
            at(
              `${field}.effect`,
              `Invalid value: ${JSON.stringify(effect ?? '')}: effect must be 'NoExecute' when \`tolerationSeconds\` is set`,
            ),
          ]
        : []),
    ];
  });
}

/** Affinity, tolerations and spreading, as the API server checks them on pods. */
export function checkScheduling(spec: Spec): readonly Cause[] {
  const { affinity } = spec;
  return [
    ...checkNodeAffinity(affinity?.nodeAffinity),
    ...checkPreferredNodes(affinity?.nodeAffinity),
    ...checkPodAffinity('spec.podAffinity', affinity?.podAffinity),
    ...checkPodAffinity('spec.podAntiAffinity', affinity?.podAntiAffinity),
    ...checkTolerations(spec.tolerations),
    ...(spec.topologySpreadConstraints ?? []).flatMap(
      ({ maxSkew, topologyKey, whenUnsatisfiable, labelSelector }, index, all) => {
        const field = `spec.topologySpreadConstraints[${index}]`;
        const first = all.findIndex((one) => one.topologyKey === topologyKey && one.whenUnsatisfiable === whenUnsatisfiable);
        return [
          ...checkSelector(`${field}.labelSelector`, labelSelector),
          ...(first < index
            ? [at(`${field}.{topologyKey, whenUnsatisfiable}`, `Duplicate value: "{${topologyKey}, ${whenUnsatisfiable}}"`)]
            : []),
          ...(maxSkew <= 0 ? [at(`${field}.maxSkew`, `Invalid value: ${maxSkew}: must be greater than zero`)] : []),
          ...(topologyKey === '' ? [at(`${field}.topologyKey`, 'Required value: can not be empty')] : []),
        ];
      },
    ),
  ];
}

const IP = /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$|^[0-9a-fA-F:]+:[0-9a-fA-F:.]*$/;

const POLICIES: readonly string[] = ['Default', 'ClusterFirst', 'ClusterFirstWithHostNet', 'None', ''];

function checkPolicy(path: string, { dnsPolicy, dnsConfig }: Spec): readonly Cause[] {
  const policy: string = dnsPolicy ?? '';
  if (!POLICIES.includes(policy)) return [notSupported(`${path}.dnsPolicy`, `DNSPolicy: ${policy} is not supported`)];
  if (policy !== 'None') return [];
  if (!dnsConfig) return [required(`${path}.dnsConfig`, 'must provide `dnsConfig` when `dnsPolicy` is None')];
  return when((dnsConfig.nameservers ?? []).length === 0, () =>
    required('nameservers', 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
  );
}

function checkSearches(searches: readonly string[]): readonly Cause[] {
  const field = 'searchDomains';
  return [
    ...when(searches.length > 32, () => invalid(field, 'must not have more than 32 search paths')),
    ...when(searches.join(' ').length > 2048, () =>
      invalid(field, 'must not have more than 2048 characters (including spaces) in the search list'),
    ),
    ...searches.flatMap((search) => dnsSubdomainFaults(search.replace(/\.$/, '')).map((fault) => invalid(field, fault))),
  ];
}

/** DNS policy and configuration; these fields are named without a prefix. */
export function checkDns(path: string, spec: Spec): readonly Cause[] {
  const { nameservers = [], searches = [], options = [] } = spec.dnsConfig ?? {};
  return [
    ...checkPolicy(path, spec),
    ...when(nameservers.length > 3, () =>
      invalid('nameservers', `must not have more than 3 nameservers: [${nameservers.join(' ')}]`),
    ),
    ...nameservers
      .filter((server) => !IP.test(server))
      .map((server) => invalid('nameservers', `must be valid IP address: ${server}`)),
    ...checkSearches(searches),
    ...options.flatMap(({ name }) => when(!name, () => required('options', 'Option.Name must not be empty for value'))),
  ];
}
