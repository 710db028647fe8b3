import type { XdrReader, XdrWriter } from './xdr.ts';

/** A value of libvirt's typed parameters; the number is its virTypedParameterType. */
export type TypedParam =
  | { readonly name: string; readonly type: 'uint' | 'ullong'; readonly value: number }
  | { readonly name: string; readonly type: 'int'; readonly value: number }
  | { readonly name: string; readonly type: 'string'; readonly value: string };

const TYPE = { int: 1, uint: 2, llong: 3, ullong: 4, double: 5, boolean: 6, string: 7 } as const;

/** A name may come more than once: then it is a list. */
export function writeTypedParams(args: XdrWriter, params: readonly TypedParam[]): XdrWriter {
  args.uint(params.length);
  for (const param of params) {
    args.string(param.name).int(TYPE[param.type]);
    if (param.type === 'string') args.string(param.value);
    else if (param.type === 'ullong') args.hyper(BigInt(param.value));
    else if (param.type === 'int') args.int(param.value);
    else args.uint(param.value);
  }
  return args;
}

/** What libvirt answers with, by name; numbers beyond 2^53 lose digits. */
export function readTypedParams(body: XdrReader): ReadonlyMap<string, number | string | boolean> {
  return new Map(body.array(() => [body.string(), readValue(body)] as const));
}

function readValue(body: XdrReader): number | string | boolean {
  const type = body.int();
  switch (type) {
    case TYPE.int:
      return body.int();
    case TYPE.uint:
      return body.uint();
    case TYPE.llong:
      return Number(body.hyper());
    case TYPE.ullong:
      return Number(body.uhyper());
    case TYPE.double:
      return body.double();
    case TYPE.boolean:
      return body.int() !== 0;
    case TYPE.string:
      return body.string();
    default:
      throw new Error(`A typed parameter of the unknown type ${type}`);
  }
}
