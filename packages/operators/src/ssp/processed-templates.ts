import { badRequest, isObject, StatusError } from '@slipway/apimachinery';
import type { AggregatedApi } from '@slipway/runtime';
import type { RandomBelow } from './generate-expression.ts';
import { processTemplate, TemplateFaultsError } from './process-template.ts';
import { type Template, TemplateKind } from './template-kind.ts';

const MAX_OBJECTS = 1_000;

/** `POST processedtemplates`: fills in a template and gives it back; whoever asked creates the objects. */
export function processedTemplatesApi({ randomBelow }: { readonly randomBelow: RandomBelow }): AggregatedApi {
  return {
    group: TemplateKind.group,
    versions: [TemplateKind.version],
    routes: [
      {
        resource: 'processedtemplates',
        namespaced: true,
        subresource: '',
        discoverable: true,
        listing: { kind: 'Template', singularName: 'processedtemplate' },
        methods: {
          POST: async ({ body, namespace }) => ({ status: 201, body: answer(body, namespace, randomBelow) }),
        },
      },
    ],
  };
}

function answer(body: unknown, namespace: string, random: RandomBelow): Template {
  if (!isObject(body) || body['kind'] !== 'Template') throw badRequest('the body must be a Template');
  const template = body as unknown as Template; // checked as far as it is used
  if (![template.objects ?? [], template.parameters ?? []].every(Array.isArray))
    throw badRequest('objects and parameters must be lists');
  if ((template.objects ?? []).length > MAX_OBJECTS) throw badRequest(`a template may have ${MAX_OBJECTS} objects`);
  try {
    return { ...processTemplate(template, random), metadata: { ...template.metadata, namespace } };
  } catch (error) {
    if (!(error instanceof TemplateFaultsError)) throw error;
    const { name = '' } = template.metadata ?? {};
    throw new StatusError({
      code: 422,
      reason: 'Invalid',
      message: `Template.${TemplateKind.group} "${name}" is invalid: ${error.message}`,
      details: {
        name,
        group: TemplateKind.group,
        kind: 'Template',
        causes: error.faults.map(({ field, message }) => ({ reason: 'FieldValueInvalid', field, message })),
      },
    });
  }
}
