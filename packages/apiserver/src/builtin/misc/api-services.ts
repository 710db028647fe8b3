import { type FieldError, findCondition, invalidValue, type Condition } from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

interface ApiService {
  spec?: {
    group?: string;
    version?: string;
    groupPriorityMinimum?: number;
    versionPriority?: number;
    service?: { namespace?: string; name?: string; port?: number };
  };
  status?: { conditions?: Condition[] };
}

function validateApiService(object: Parameters<NonNullable<NonNullable<BuiltinKind['strategy']>['validate']>>[0]): FieldError[] {
  const { spec } = typed<ApiService>(object);
  const errors: FieldError[] = [];
  const required = `${spec?.version ?? ''}.${spec?.group ?? ''}`;
  if (object.metadata.name !== required) {
    errors.push(invalidValue('metadata.name', object.metadata.name, `must be \`spec.version+"."+spec.group\`: "${required}"`));
  }
  const { groupPriorityMinimum: group = 0, versionPriority: version = 0 } = spec ?? {};
  if (group < 1 || group > 20_000) {
    errors.push(invalidValue('spec.groupPriorityMinimum', group, 'must be positive and less than 20000'));
  }
  if (version < 1 || version > 1000)
    errors.push(invalidValue('spec.versionPriority', version, 'must be positive and less than 1000'));
  return errors;
}

function availableText({ status }: ApiService): string {
  const available = findCondition(status?.conditions, 'Available');
  if (available === undefined) return 'Unknown';
  return available.status === 'True' ? 'True' : `${available.status} (${available.reason})`;
}

/** Objects that tell which server answers a group and version. */
export const apiServiceKind: BuiltinKind = {
  group: 'apiregistration.k8s.io',
  kind: 'APIService',
  plural: 'apiservices',
  definition: 'apiregistration.v1.APIService',
  categories: ['api-extensions'],
  cluster: true,
  status: true,
  strategy: {
    allowUnconditionalUpdate: false,
    default(object) {
      const service = typed<ApiService>(object).spec?.service;
      if (service !== undefined) service.port ??= 443;
    },
    prepareForCreate(object) {
      object['status'] = {};
    },
    prepareForUpdate(object, old) {
      object['status'] = old['status'];
    },
    validate: validateApiService,
  },
  columns: [
    nameColumn,
    column('Service', (object) => {
      const service = typed<ApiService>(object).spec?.service;
      return service === undefined ? 'Local' : `${service.namespace}/${service.name}`;
    }),
    column('Available', (object) => availableText(typed<ApiService>(object))),
    ageColumn,
  ],
};
