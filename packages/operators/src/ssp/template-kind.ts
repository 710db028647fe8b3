import type { KubeObject, ResourceKind } from '@slipway/apimachinery';

export interface Parameter {
  readonly name: string;
  readonly displayName?: string;
  readonly description?: string;
  readonly value?: string;
  readonly generate?: string;
  readonly from?: string;
  readonly required?: boolean;
}

/** `template.openshift.io/v1`. */
export interface Template extends KubeObject {
  message?: string;
  objects?: readonly unknown[];
  parameters?: readonly Parameter[];
  /** Labels of the objects; not those of the template. */
  labels?: Readonly<Record<string, string>>;
}

export const TemplateKind: ResourceKind<Template> = {
  group: 'template.openshift.io',
  version: 'v1',
  kind: 'Template',
  plural: 'templates',
  namespaced: true,
};
