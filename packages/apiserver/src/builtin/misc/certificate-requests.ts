import {
  type FieldError,
  type UnstructuredObject,
  duplicateValue,
  forbiddenField,
  invalidValue,
  requiredValue,
  unsupportedValue,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

interface SigningRequest {
  spec?: { signerName?: string; username?: string; request?: string; usages?: string[]; expirationSeconds?: number };
  status?: { conditions?: Condition[]; certificate?: string };
}

interface Condition {
  type: string;
  status?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

const MIN_SECONDS = 600;
const DECISIONS: readonly string[] = ['Approved', 'Denied'];
const conditionsOf = (object: UnstructuredObject): Condition[] => typed<SigningRequest>(object).status?.conditions ?? [];
const isDecision = ({ type }: Condition): boolean => DECISIONS.includes(type);

/** An approval changes the conditions and nothing else. */
function approve(object: UnstructuredObject, old: UnstructuredObject, now: string): void {
  const conditions = dated(conditionsOf(object), conditionsOf(old), now);
  object['status'] = { ...typed<SigningRequest>(old).status, ...(conditions.length > 0 && { conditions }) };
}

/** A status write says what became of the request; who decided is not its business. */
function keepDecision(object: UnstructuredObject, old: UnstructuredObject, now: string): void {
  const others = conditionsOf(object).filter((condition) => !isDecision(condition));
  const conditions = dated([...conditionsOf(old).filter(isDecision), ...others], conditionsOf(old), now);
  object['status'] = { ...typed<SigningRequest>(object).status, ...(conditions.length > 0 && { conditions }) };
}

function dated(conditions: readonly Condition[], before: readonly Condition[], now: string): Condition[] {
  return conditions.map((condition) => {
    const same = before.find(({ type, status }) => type === condition.type && status === condition.status);
    return {
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? now,
      lastTransitionTime: condition.lastTransitionTime ?? same?.lastTransitionTime ?? now,
    };
  });
}

function validateDecision(next: UnstructuredObject, old: UnstructuredObject): FieldError[] {
  const path = 'status.conditions';
  const after = conditionsOf(next);
  const errors: FieldError[] = [];
  after.forEach((condition, index) => {
    if (!condition.type) errors.push(requiredValue(`${path}[${index}].type`));
    if (isDecision(condition) && condition.status !== 'True') {
      errors.push(unsupportedValue(`${path}[${index}].status`, condition.status ?? '', ['True']));
    }
  });
  if (DECISIONS.every((wanted) => after.some(({ type }) => type === wanted))) {
    errors.push(invalidValue(path, 'Denied', 'Approved and Denied conditions are mutually exclusive'));
  }
  for (const { type } of conditionsOf(old)) {
    const isKept = after.some((condition) => condition.type === type);
    if (!isKept) errors.push(forbiddenField(path, `updates may not remove a condition of type ${JSON.stringify(type)}`));
  }
  return errors;
}

function signingStatus({ status }: SigningRequest): string {
  const types = (status?.conditions ?? []).map(({ type }) => type);
  const decision = types.includes('Denied') ? 'Denied' : types.includes('Approved') ? 'Approved' : 'Pending';
  const parts = [decision, ...(types.includes('Failed') ? ['Failed'] : []), ...(status?.certificate ? ['Issued'] : [])];
  return parts.join(',');
}

/** Requests for client and serving certificates; the approval is a subresource of its own. */
export const certificateSigningRequestKind: BuiltinKind = {
  group: 'certificates.k8s.io',
  kind: 'CertificateSigningRequest',
  plural: 'certificatesigningrequests',
  definition: 'certificates.v1.CertificateSigningRequest',
  shortNames: ['csr'],
  cluster: true,
  status: true,
  custom: [{ name: 'approval', kind: 'CertificateSigningRequest', verbs: ['get', 'patch', 'update'] }],
  strategy: {
    prepareForCreate(object, { user }) {
      object['status'] = {};
      // who asks is what the server knows, never what the body says
      object['spec'] = {
        ...typed<SigningRequest>(object).spec,
        username: user.username,
        groups: [...user.groups],
        ...(user.uid && { uid: user.uid }),
      };
    },
    prepareForUpdate(object, old, { subresource, now }) {
      object['spec'] = old['spec'];
      if (subresource === 'approval') approve(object, old, now);
      else object['status'] = old['status'];
    },
    prepareForStatusUpdate(object, old, { now }) {
      object['spec'] = old['spec'];
      keepDecision(object, old, now);
    },
    validateUpdate: validateDecision,
    validateStatusUpdate: validateDecision,
    validate(object) {
      const { spec } = typed<SigningRequest>(object);
      const errors: FieldError[] = [];
      if (!spec?.request) errors.push(requiredValue('spec.request'));
      const { signerName = '', usages = [], expirationSeconds } = spec ?? {};
      if (signerName === '') errors.push(requiredValue('spec.signerName'));
      else if (signerName.split('/').length !== 2) {
        const text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(invalidValue('spec.signerName', signerName, text));
      }
      usages.forEach((usage, index) => {
        if (usages.indexOf(usage) < index) errors.push(duplicateValue(`spec.usages[${index}]`, usage));
      });
      if (expirationSeconds !== undefined && expirationSeconds < MIN_SECONDS) {
        const text = 'may not specify a duration less than 600 seconds (10 minutes)';
        errors.push(invalidValue('spec.expirationSeconds', expirationSeconds, text));
      }
      if ((spec?.usages ?? []).length === 0) errors.push(requiredValue('spec.usages'));
      return errors;
    },
  },
  columns: [
    nameColumn,
    ageColumn,
    column('SignerName', (object) => typed<SigningRequest>(object).spec?.signerName ?? ''),
    column('Requestor', (object) => typed<SigningRequest>(object).spec?.username ?? ''),
    column('RequestedDuration', (object) => {
      const seconds = typed<SigningRequest>(object).spec?.expirationSeconds;
      return seconds === undefined ? '<none>' : `${seconds}s`;
    }),
    column('Condition', (object) => signingStatus(typed<SigningRequest>(object))),
  ],
  selectableFields: (object) => ({ 'spec.signerName': typed<SigningRequest>(object).spec?.signerName ?? '' }),
};
