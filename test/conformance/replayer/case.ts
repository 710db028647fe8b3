/** One request and what must come back. Text in `path`, `body` and `expect` may hold `{name}` for captured values. */
export interface Step {
  readonly request: `${'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'} /${string}`;
  readonly body?: unknown;
  /** Content type; default JSON. */
  readonly type?: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Values to remember: name → path in the answer, such as `metadata.uid`. */
  readonly capture?: Readonly<Record<string, string>>;
  /** Asked again until it fits, for what a controller does later. */
  readonly eventually?: boolean;
  readonly expect: Expectation;
}

export interface Expectation {
  readonly status: number;
  /** Fields that must be there with these values; `absent` for ones that must not. Others do not matter. */
  readonly body?: unknown;
  /** Part of the body's text, or of a Status' message. */
  readonly text?: string;
  /** The fields at fault in a Status, sorted; each once. */
  readonly causes?: readonly string[];
  readonly contentType?: string;
  readonly warning?: string;
}

/** A story told in requests. `{ns}` is a namespace of its own. */
export interface Case {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** In an expected body: the field must not be there. */
export const absent = Symbol('absent');
