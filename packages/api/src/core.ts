import type { KubeObject } from '@slipway/apimachinery';
import type * as apps from 'kubernetes-types/apps/v1';
import type * as autoscaling from 'kubernetes-types/autoscaling/v2';
import type * as batch from 'kubernetes-types/batch/v1';
import type * as coordination from 'kubernetes-types/coordination/v1';
import type * as core from 'kubernetes-types/core/v1';
import type * as policy from 'kubernetes-types/policy/v1';
import type * as rbac from 'kubernetes-types/rbac/v1';
import type * as storage from 'kubernetes-types/storage/v1';

/** A published type with the identity fields that every stored object has. */
type Served<T> = Omit<T, 'apiVersion' | 'kind' | 'metadata' | 'status'> &
  KubeObject &
  (T extends { readonly status?: infer S } ? { status?: S } : unknown);

export type { apps, autoscaling, batch, core, coordination, policy, rbac, storage };
export type Pod = Served<core.Pod>;
export type Node = Served<core.Node>;
export type Namespace = Served<core.Namespace>;
export type ConfigMap = Served<core.ConfigMap>;
export type Secret = Served<core.Secret>;
export type Service = Served<core.Service>;
export type ServiceAccount = Served<core.ServiceAccount>;
export type PersistentVolume = Served<core.PersistentVolume>;
export type PersistentVolumeClaim = Served<core.PersistentVolumeClaim>;
export type CoreEvent = Served<core.Event>;
export type Lease = Served<coordination.Lease>;
export type StorageClass = Served<storage.StorageClass>;
export type CSIStorageCapacity = Served<storage.CSIStorageCapacity>;
export type ControllerRevision = Served<apps.ControllerRevision>;
export type ClusterRole = Served<rbac.ClusterRole>;
export type ClusterRoleBinding = Served<rbac.ClusterRoleBinding>;
export type Role = Served<rbac.Role>;
export type RoleBinding = Served<rbac.RoleBinding>;
export type Deployment = Served<apps.Deployment>;
export type ReplicaSet = Served<apps.ReplicaSet>;
export type StatefulSet = Served<apps.StatefulSet>;
export type DaemonSet = Served<apps.DaemonSet>;
export type Job = Served<batch.Job>;
export type CronJob = Served<batch.CronJob>;
export type HorizontalPodAutoscaler = Served<autoscaling.HorizontalPodAutoscaler>;
export type PodDisruptionBudget = Served<policy.PodDisruptionBudget>;
export type ResourceQuota = Served<core.ResourceQuota>;
export type Endpoints = Served<core.Endpoints>;
