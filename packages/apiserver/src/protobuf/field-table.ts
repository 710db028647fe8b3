/**
 * Field numbers of the published .proto files, for the kinds kubectl creates through typed clients. A message is
 * `number name type` per line entry; types: `s` string, `b` bytes, `i` integer, `?` boolean, `t` time, `q` quantity,
 * `x` int-or-string, `-` accepted and dropped, else another message. `*` repeats, `{s}` and `{b}`, `{q}` are maps.
 */
const TABLE: Readonly<Record<string, string>> = {
  ObjectMeta:
    '1 name s,2 generateName s,3 namespace s,4 selfLink s,5 uid s,6 resourceVersion s,7 generation i,8 creationTimestamp t,' +
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
    '9 loadBalancerSourceRanges s*,10 externalName s,11 externalTrafficPolicy s,13 publishNotReadyAddresses ?,18 clusterIPs s*',
  ServicePort: '1 name s,2 protocol s,3 port i,4 targetPort x,5 nodePort i,6 appProtocol s',

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
    '1 replicas i,2 selector LabelSelector,3 template PodTemplateSpec,4 strategy DeploymentStrategy,5 minReadySeconds i,' +
    '6 revisionHistoryLimit i,7 paused ?,9 progressDeadlineSeconds i',
  DeploymentStrategy: '1 type s',
  Job: '1 metadata ObjectMeta,2 spec JobSpec,3 status -',
  JobSpec:
    '1 parallelism i,2 completions i,3 activeDeadlineSeconds i,4 selector LabelSelector,5 manualSelector ?,6 template PodTemplateSpec,' +
    '7 backoffLimit i,8 ttlSecondsAfterFinished i',
  PodTemplateSpec: '1 metadata ObjectMeta,2 spec PodSpec',
  PodSpec:
    '2 containers Container*,3 restartPolicy s,4 terminationGracePeriodSeconds i,5 activeDeadlineSeconds i,6 dnsPolicy s,' +
    '7 nodeSelector {s},8 serviceAccountName s,9 serviceAccount s,10 nodeName s,11 hostNetwork ?,14 securityContext -,19 schedulerName s',
  Container:
    '1 name s,2 image s,3 command s*,4 args s*,5 workingDir s,6 ports ContainerPort*,7 env EnvVar*,8 resources ResourceRequirements,' +
    '13 terminationMessagePath s,14 imagePullPolicy s,16 stdin ?,17 stdinOnce ?,18 tty ?',
  ContainerPort: '1 name s,2 hostPort i,3 containerPort i,4 protocol s,5 hostIP s',
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
