/**
 * Field numbers of the published .proto files, for the kinds kubectl creates through typed clients. A message is
 * `number name type` per line entry; types: `s` string, `b` bytes, `i` integer, `?` boolean, `t` time, `q` quantity,
 * `o` boolean and `n` integer that are absent when false or zero, `x` int-or-string, `-` accepted and dropped, else another message. `*` repeats, `{s}` and `{b}`, `{q}` are maps;
 * a message named `&` is part of the one around it.
 */
const TABLE: Readonly<Record<string, string>> = {
  ObjectMeta:
    '1 name s,2 generateName s,3 namespace s,4 selfLink s,5 uid s,6 resourceVersion s,7 generation n,8 creationTimestamp t,' +
    '9 deletionTimestamp t,10 deletionGracePeriodSeconds i,11 labels {s},12 annotations {s},13 ownerReferences OwnerReference*,' +
    '14 finalizers s*,17 managedFields -',
  OwnerReference: '1 kind s,3 name s,4 uid s,5 apiVersion s,6 controller ?,7 blockOwnerDeletion ?',
  LabelSelector: '1 matchLabels {s},2 matchExpressions LabelSelectorRequirement*',
  LabelSelectorRequirement: '1 key s,2 operator s,3 values s*',
  ObjectReference: '1 kind s,2 namespace s,3 name s,4 uid s,5 apiVersion s,6 resourceVersion s,7 fieldPath s',
  LocalObjectReference: '1 name s',
  DeleteOptions: '1 gracePeriodSeconds i,2 preconditions Preconditions,3 orphanDependents ?,4 propagationPolicy s,5 dryRun s*',
  Preconditions: '1 uid s,2 resourceVersion s',

  Namespace: '1 metadata ObjectMeta,2 spec NamespaceSpec,3 status -',
  NamespaceSpec: '1 finalizers s*',
  ConfigMap: '1 metadata ObjectMeta,2 data {s},3 binaryData {b},4 immutable ?',
  Secret: '1 metadata ObjectMeta,2 data {b},3 type s,4 stringData {s},5 immutable ?',
  ServiceAccount:
    '1 metadata ObjectMeta,2 secrets ObjectReference*,3 imagePullSecrets LocalObjectReference*,4 automountServiceAccountToken ?',
  ResourceQuota: '1 metadata ObjectMeta,2 spec ResourceQuotaSpec,3 status -',
  ResourceQuotaSpec: '1 hard {q},2 scopes s*',
  Service: '1 metadata ObjectMeta,2 spec ServiceSpec,3 status -',
  ServiceSpec:
    '1 ports ServicePort*,2 selector {s},3 clusterIP s,4 type s,5 externalIPs s*,7 sessionAffinity s,8 loadBalancerIP s,' +
    '9 loadBalancerSourceRanges s*,10 externalName s,11 externalTrafficPolicy s,12 healthCheckNodePort n,13 publishNotReadyAddresses o,18 clusterIPs s*',
  ServicePort: '1 name s,2 protocol s,3 port i,4 targetPort x,5 nodePort n,6 appProtocol s',

  Ingress: '1 metadata ObjectMeta,2 spec IngressSpec,3 status -',
  IngressSpec: '1 defaultBackend IngressBackend,2 tls IngressTLS*,3 rules IngressRule*,4 ingressClassName s',
  IngressTLS: '1 hosts s*,2 secretName s',
  IngressRule: '1 host s,2 & IngressRuleValue',
  IngressRuleValue: '1 http HTTPIngressRuleValue',
  HTTPIngressRuleValue: '1 paths HTTPIngressPath*',
  HTTPIngressPath: '1 path s,2 backend IngressBackend,3 pathType s',
  IngressBackend: '3 resource TypedLocalObjectReference,4 service IngressServiceBackend',
  IngressServiceBackend: '1 name s,2 port ServiceBackendPort',
  ServiceBackendPort: '1 name s,2 number n',
  TypedLocalObjectReference: '1 apiGroup s,2 kind s,3 name s',

  PolicyRule: '1 verbs s*,2 apiGroups s*,3 resources s*,4 resourceNames s*,5 nonResourceURLs s*',
  Role: '1 metadata ObjectMeta,2 rules PolicyRule*',
  ClusterRole: '1 metadata ObjectMeta,2 rules PolicyRule*,3 aggregationRule AggregationRule',
  AggregationRule: '1 clusterRoleSelectors LabelSelector*',
  Subject: '1 kind s,2 apiGroup s,3 name s,4 namespace s',
  RoleRef: '1 apiGroup s,2 kind s,3 name s',
  RoleBinding: '1 metadata ObjectMeta,2 subjects Subject*,3 roleRef RoleRef',
  ClusterRoleBinding: '1 metadata ObjectMeta,2 subjects Subject*,3 roleRef RoleRef',

  ResourceAttributes: '1 namespace s,2 verb s,3 group s,4 version s,5 resource s,6 subresource s,7 name s',
  NonResourceAttributes: '1 path s,2 verb s',
  SelfSubjectAccessReview: '1 metadata ObjectMeta,2 spec SelfSubjectAccessReviewSpec,3 status -',
  SelfSubjectAccessReviewSpec: '1 resourceAttributes ResourceAttributes,2 nonResourceAttributes NonResourceAttributes',
  SelfSubjectRulesReview: '1 metadata ObjectMeta,2 spec SelfSubjectRulesReviewSpec,3 status -',
  SelfSubjectRulesReviewSpec: '1 namespace s',
  SelfSubjectReview: '1 metadata ObjectMeta,2 status -',
  TokenRequest: '1 metadata ObjectMeta,2 spec TokenRequestSpec,3 status -',
  TokenRequestSpec: '1 audiences s*,3 boundObjectRef BoundObjectReference,4 expirationSeconds i',
  BoundObjectReference: '1 kind s,2 apiVersion s,3 name s,4 uid s',
  Eviction: '1 metadata ObjectMeta,2 deleteOptions DeleteOptions',

  PriorityClass: '1 metadata ObjectMeta,2 value i,3 globalDefault ?,4 description s,5 preemptionPolicy s',
  PodDisruptionBudget: '1 metadata ObjectMeta,2 spec PodDisruptionBudgetSpec,3 status -',
  PodDisruptionBudgetSpec: '1 minAvailable x,2 selector LabelSelector,3 maxUnavailable x',
  Deployment: '1 metadata ObjectMeta,2 spec DeploymentSpec,3 status -',
  DeploymentSpec:
    '1 replicas i,2 selector LabelSelector,3 template PodTemplateSpec,4 strategy DeploymentStrategy,5 minReadySeconds n,' +
    '6 revisionHistoryLimit i,7 paused o,9 progressDeadlineSeconds i',
  DeploymentStrategy: '1 type s',
  Job: '1 metadata ObjectMeta,2 spec JobSpec,3 status -',
  JobSpec:
    '1 parallelism i,2 completions i,3 activeDeadlineSeconds i,4 selector LabelSelector,5 manualSelector ?,6 template PodTemplateSpec,' +
    '7 backoffLimit i,8 ttlSecondsAfterFinished i,9 completionMode s,10 suspend ?',
  CronJob: '1 metadata ObjectMeta,2 spec CronJobSpec,3 status -',
  CronJobSpec:
    '1 schedule s,2 startingDeadlineSeconds i,3 concurrencyPolicy s,4 suspend ?,5 jobTemplate JobTemplateSpec,' +
    '6 successfulJobsHistoryLimit i,7 failedJobsHistoryLimit i,8 timeZone s',
  JobTemplateSpec: '1 metadata ObjectMeta,2 spec JobSpec',
  PodTemplateSpec: '1 metadata ObjectMeta,2 spec PodSpec',
  PodSpec:
    '2 containers Container*,3 restartPolicy s,4 terminationGracePeriodSeconds i,5 activeDeadlineSeconds i,6 dnsPolicy s,' +
    '7 nodeSelector {s},8 serviceAccountName s,9 serviceAccount s,10 nodeName s,11 hostNetwork o,12 hostPID o,13 hostIPC o,' +
    '14 securityContext -,15 imagePullSecrets LocalObjectReference*,16 hostname s,17 subdomain s,19 schedulerName s,' +
    '24 priorityClassName s',
  Container:
    '1 name s,2 image s,3 command s*,4 args s*,5 workingDir s,6 ports ContainerPort*,7 env EnvVar*,8 resources ResourceRequirements,' +
    '13 terminationMessagePath s,14 imagePullPolicy s,16 stdin o,17 stdinOnce o,18 tty o,20 terminationMessagePolicy s',
  ContainerPort: '1 name s,2 hostPort n,3 containerPort i,4 protocol s,5 hostIP s',
  EnvVar: '1 name s,2 value s',
  ResourceRequirements: '1 limits {q},2 requests {q}',
};

export interface ProtoField {
  readonly name: string;
  /** One of the letters above or the name of a message. */
  readonly type: string;
  readonly isRepeated: boolean;
  readonly isMap: boolean;
}

const parsed = new Map<string, ReadonlyMap<number, ProtoField>>();

/** Fields of a message by number; undefined for messages the table does not have. */
export function protoMessage(name: string): ReadonlyMap<number, ProtoField> | undefined {
  const known = parsed.get(name);
  const text = TABLE[name];
  if (known !== undefined || text === undefined) return known;
  const fields = new Map(text.split(',').map((entry) => parseField(entry.trim())));
  parsed.set(name, fields);
  return fields;
}

function parseField(entry: string): [number, ProtoField] {
  const [number = '', name = '', type = ''] = entry.split(' ');
  const isMap = type.startsWith('{');
  const isRepeated = type.endsWith('*');
  return [Number(number), { name, type: isMap ? type.slice(1, -1) : type.replace('*', ''), isRepeated, isMap }];
}
