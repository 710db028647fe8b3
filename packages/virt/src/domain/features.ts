import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { el, type XmlElement } from '../xml.ts';
import type { DomainFacts, PlanNote } from './facts.ts';
import { isAmd64 } from './shape.ts';

type State = 'on' | 'off';
type Flag = { readonly enabled?: boolean } | undefined;

const isOn = (flag: Flag): boolean => flag !== undefined && flag.enabled !== false;
const stateOf = (flag: NonNullable<Flag>): State => (flag.enabled === false ? 'off' : 'on');
const flagElement = (name: string, flag: Flag): XmlElement | undefined => flag && el(name, { state: stateOf(flag) });

// In the order of libvirt's schema; the API spells two of them differently.
const PLAIN_FLAGS = [
  'relaxed',
  'vapic',
  'vpindex',
  'runtime',
  'synic',
  'reset',
  'frequencies',
  'reenlightenment',
  'ipi',
  'evmcs',
] as const;

function hypervElement(features: kubevirt.Features): XmlElement | undefined {
  if (isOn(features.hypervPassthrough)) return el('hyperv', { mode: 'passthrough' });
  const { hyperv } = features;
  if (!hyperv) return undefined;
  const { spinlocks, synictimer, vendorid, tlbflush } = hyperv;
  return el(
    'hyperv',
    {},
    PLAIN_FLAGS.map((name) => flagElement(name, hyperv[name])),
    spinlocks &&
      el('spinlocks', {
        state: stateOf(spinlocks),
        retries: spinlocks.enabled === false ? undefined : (spinlocks.spinlocks ?? 4096),
      }),
    synictimer && el('stimer', { state: stateOf(synictimer) }, flagElement('direct', synictimer.direct)),
    vendorid && el('vendor_id', { state: stateOf(vendorid), value: vendorid.vendorid }),
    tlbflush &&
      el(
        'tlbflush',
        { state: stateOf(tlbflush) },
        flagElement('direct', tlbflush.direct),
        flagElement('extended', tlbflush.extended),
      ),
  );
}

function kvmElement(domain: kubevirt.DomainSpec): XmlElement | undefined {
  const { features, cpu } = domain;
  const dedicated = cpu?.dedicatedCpuPlacement === true;
  if (!features?.kvm && !dedicated) return undefined;
  return el(
    'kvm',
    {},
    features?.kvm && el('hidden', { state: features.kvm.hidden ? 'on' : 'off' }),
    dedicated && el('hint-dedicated', { state: 'on' }),
  );
}

function paravirtElements(
  domain: kubevirt.DomainSpec,
  facts: DomainFacts,
  notes: PlanNote[],
): readonly (XmlElement | undefined)[] {
  const features = domain.features ?? {};
  const elements = [hypervElement(features), kvmElement(domain), flagElement('pvspinlock', features.pvspinlock)];
  if (facts.accelerator.kind === 'kvm') return elements;
  const names = elements.flatMap((element) => element?.name ?? []);
  // TCG has none of them and libvirt refuses to start a domain whose CPU lacks a flag it names.
  if (names.length > 0)
    notes.push({
      reason: 'FeatureLeftOut',
      message: `Left out under software emulation, because they need KVM: ${names.join(', ')}`,
    });
  return [];
}

function tcgElement(facts: DomainFacts): XmlElement | undefined {
  const { accelerator } = facts;
  if (accelerator.kind !== 'tcg' || accelerator.tbCacheMiB === undefined) return undefined;
  return el('tcg', {}, el('tb-cache', { unit: 'MiB' }, String(accelerator.tbCacheMiB)));
}

/** `<features>`. */
export function featuresElement(vmi: VirtualMachineInstance, facts: DomainFacts, notes: PlanNote[]): XmlElement {
  const { domain, architecture } = vmi.spec;
  const { apic, acpi, smm } = domain.features ?? {};
  return el(
    'features',
    {},
    acpi?.enabled !== false && el('acpi'),
    isOn(apic) && el('apic', { eoi: apic?.endOfInterrupt ? 'on' : undefined }),
    paravirtElements(domain, facts, notes),
    isOn(smm) && el('smm'),
    (domain.cpu?.realtime !== undefined || domain.launchSecurity?.tdx !== undefined) && el('pmu', { state: 'off' }),
    facts.emulator?.vmport === true && isAmd64(architecture) && el('vmport', { state: 'off' }),
    tcgElement(facts),
  );
}

function timerElements(timer: kubevirt.Timer | undefined, isKvm: boolean): readonly (XmlElement | undefined)[] {
  if (!timer) return [];
  const present = (flag: { readonly present?: boolean }) => (flag.present === false ? 'no' : 'yes');
  const { rtc, pit, kvm, hpet, hyperv } = timer;
  return [
    rtc && el('timer', { name: 'rtc', tickpolicy: rtc.tickPolicy, present: present(rtc), track: rtc.track }),
    pit && el('timer', { name: 'pit', tickpolicy: pit.tickPolicy, present: present(pit) }),
    isKvm && kvm && el('timer', { name: 'kvmclock', present: present(kvm) }),
    hpet && el('timer', { name: 'hpet', tickpolicy: hpet.tickPolicy, present: present(hpet) }),
    isKvm && hyperv && el('timer', { name: 'hypervclock', present: present(hyperv) }),
  ].map((element) => element || undefined);
}

function offsetOf({ timezone, utc }: kubevirt.Clock): Readonly<Record<string, string | number | undefined>> {
  if (timezone !== undefined) return { offset: 'timezone', timezone };
  return utc ? { offset: 'utc', adjustment: utc.offsetSeconds ?? 'reset' } : {};
}

/** `<clock>`, when the spec or the required TSC frequency asks for one. */
export function clockElement(vmi: VirtualMachineInstance, facts: DomainFacts): XmlElement | undefined {
  const { clock } = vmi.spec.domain;
  const isKvm = facts.accelerator.kind === 'kvm';
  const frequency = vmi.status?.topologyHints?.tscFrequency;
  const tsc = isKvm && frequency ? el('timer', { name: 'tsc', frequency }) : undefined;
  if (!clock && !tsc) return undefined;
  return el('clock', clock ? offsetOf(clock) : {}, timerElements(clock?.timer, isKvm), tsc);
}
