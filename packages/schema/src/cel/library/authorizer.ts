import type { Environment } from '@marcbachmann/cel-js';

/** What an expression asks about: a path, or a verb on a resource. */
export interface AuthorizerQuestion {
  /** The service account in whose place is asked; absent: whoever sent the request. */
  readonly serviceAccount?: { readonly namespace: string; readonly name: string };
  readonly verb: string;
  readonly path: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** The server's verdict; an error means that it could not tell. */
export interface AuthorizerAnswer {
  readonly isAllowed: boolean;
  readonly reason: string;
  readonly error?: string;
}

type Ask = (question: AuthorizerQuestion) => AuthorizerAnswer;

const NOTHING: AuthorizerQuestion = { verb: '', path: '', group: '', resource: '', subresource: '', namespace: '', name: '' };

/** A question in the making. */
class Query {
  readonly ask: Ask;
  readonly question: AuthorizerQuestion;
  constructor(ask: Ask, question: AuthorizerQuestion) {
    this.ask = ask;
    this.question = question;
  }
}

class CelAuthorizer extends Query {
  readonly requestResource: ResourceCheck;
  constructor(ask: Ask, question: AuthorizerQuestion, own: AuthorizerQuestion) {
    super(ask, question);
    this.requestResource = new ResourceCheck(ask, own);
  }
}
class PathCheck extends Query {}
class GroupCheck extends Query {}
class ResourceCheck extends Query {}
class Decision {
  readonly answer: AuthorizerAnswer;
  constructor(answer: AuthorizerAnswer) {
    this.answer = answer;
  }
}

/** The value of the variable `authorizer`. `own` is the resource the request is about. */
export const authorizerVariable = (ask: Ask, own: Partial<AuthorizerQuestion>): unknown =>
  new CelAuthorizer(ask, NOTHING, { ...NOTHING, ...own });

/** `authorizer.group('apps').resource('deployments').check('create').allowed()` and the like. */
export function registerAuthorizer(env: Environment): void {
  const sync = { async: false };
  env.registerType('kubernetes.authorization.ResourceCheck', ResourceCheck);
  env.registerType('kubernetes.authorization.Authorizer', {
    ctor: CelAuthorizer,
    fields: { requestResource: 'kubernetes.authorization.ResourceCheck' },
  });
  env.registerType('kubernetes.authorization.PathCheck', PathCheck);
  env.registerType('kubernetes.authorization.GroupCheck', GroupCheck);
  env.registerType('kubernetes.authorization.Decision', Decision);
  const on = (signature: string, handler: (...args: never[]) => unknown): void => {
    env.registerFunction(signature.replace(/\$/g, 'kubernetes.authorization.'), handler, sync);
  };
  on('$Authorizer.path(string): $PathCheck', ({ ask, question }: Query, path: string) => {
    if (path === '') throw new Error('path must not be empty');
    return new PathCheck(ask, { ...question, path });
  });
  on('$Authorizer.group(string): $GroupCheck', ({ ask, question }: Query, group: string) => {
    return new GroupCheck(ask, { ...question, group });
  });
  on('$Authorizer.serviceAccount(string, string): $Authorizer', ({ ask, question }: Query, namespace: string, name: string) => {
    const asked = { ...question, serviceAccount: { namespace, name } };
    return new CelAuthorizer(ask, asked, asked);
  });
  on('$GroupCheck.resource(string): $ResourceCheck', ({ ask, question }: Query, resource: string) => {
    if (resource === '') throw new Error('resource must not be empty');
    return new ResourceCheck(ask, { ...question, resource });
  });
  for (const field of ['subresource', 'namespace', 'name'] as const) {
    on(`$ResourceCheck.${field}(string): $ResourceCheck`, ({ ask, question }: Query, value: string) => {
      return new ResourceCheck(ask, { ...question, [field]: value });
    });
  }
  for (const type of ['PathCheck', 'ResourceCheck']) {
    on(`$${type}.check(string): $Decision`, ({ ask, question }: Query, verb: string) => new Decision(ask({ ...question, verb })));
  }
  on('$Decision.allowed(): bool', ({ answer }: Decision) => answer.error === undefined && answer.isAllowed);
  on('$Decision.reason(): string', ({ answer }: Decision) => answer.reason);
  on('$Decision.errored(): bool', ({ answer }: Decision) => answer.error !== undefined);
  on('$Decision.error(): string', ({ answer }: Decision) => answer.error ?? '');
}
