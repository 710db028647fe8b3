import { catalogSourceController } from './catalog-sources.ts';
import { clusterServiceVersionController, operatorGroupController } from './cluster-service-versions.ts';
import { installPlanController } from './install-plans.ts';
import { subscriptionController } from './subscriptions.ts';

/** The objects of Operator Lifecycle Manager, from a catalogue that has the platform's own operator. */
export const olmControllers = [
  catalogSourceController,
  operatorGroupController,
  subscriptionController,
  installPlanController,
  clusterServiceVersionController,
] as const;
