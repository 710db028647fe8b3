/** Operand of a command. */
export type Operand =
  | { readonly type: 'dot' | 'nil'; readonly position: number }
  | { readonly type: 'bool'; readonly position: number; readonly value: boolean }
  | { readonly type: 'number'; readonly position: number; readonly text: string }
  | { readonly type: 'string'; readonly position: number; readonly text: string; readonly source: string }
  | { readonly type: 'field' | 'variable'; readonly position: number; readonly names: readonly string[] }
  | { readonly type: 'chain'; readonly position: number; readonly node: Operand; readonly names: readonly string[] }
  | { readonly type: 'identifier'; readonly position: number; readonly name: string }
  | Pipe;

export interface Command {
  readonly type: 'command';
  readonly position: number;
  readonly operands: readonly Operand[];
}

export interface Pipe {
  readonly type: 'pipe';
  readonly position: number;
  readonly assigns: boolean;
  readonly variables: readonly string[];
  readonly commands: readonly Command[];
}

export interface Branch {
  readonly type: 'if' | 'with' | 'range';
  readonly position: number;
  readonly pipe: Pipe;
  readonly body: readonly Statement[];
  readonly otherwise?: readonly Statement[];
}

export type Statement =
  | { readonly type: 'text'; readonly position: number; readonly text: string }
  | { readonly type: 'action'; readonly position: number; readonly pipe: Pipe }
  | { readonly type: 'break' | 'continue'; readonly position: number }
  | { readonly type: 'template'; readonly position: number; readonly name: string; readonly pipe?: Pipe }
  | Branch;

export type Node = Operand | Command | Statement;

/** One parsed template with the text it came from. */
export interface Tree {
  readonly name: string;
  /** Name of the file, which messages show. */
  readonly file: string;
  readonly source: string;
  readonly body: readonly Statement[];
}

/** The node as Go prints it in messages. */
export function describe(node: Node): string {
  switch (node.type) {
    case 'command':
      return node.operands.map((operand) => (operand.type === 'pipe' ? `(${describe(operand)})` : describe(operand))).join(' ');
    case 'pipe':
      return describePipe(node);
    case 'text':
      return node.text;
    case 'action':
      return `{{${describe(node.pipe)}}}`;
    case 'break':
    case 'continue':
      return `{{${node.type}}}`;
    case 'template':
      return `{{template ${JSON.stringify(node.name)}${node.pipe ? ` ${describe(node.pipe)}` : ''}}}`;
    case 'if':
    case 'with':
    case 'range':
      return describeBranch(node);
    default:
      return describeOperand(node);
  }
}

function describePipe({ variables, assigns, commands }: Pipe): string {
  const head = variables.length > 0 ? `${variables.join(', ')} ${assigns ? '=' : ':='} ` : '';
  return head + commands.map(describe).join(' | ');
}

function describeBranch({ type, pipe, body, otherwise }: Branch): string {
  const tail = otherwise ? `{{else}}${otherwise.map(describe).join('')}` : '';
  return `{{${type} ${describe(pipe)}}}${body.map(describe).join('')}${tail}{{end}}`;
}

function describeOperand(node: Exclude<Operand, Pipe>): string {
  switch (node.type) {
    case 'dot':
      return '.';
    case 'nil':
      return 'nil';
    case 'bool':
      return String(node.value);
    case 'number':
      return node.text;
    case 'string':
      return node.source;
    case 'field':
      return node.names.map((name) => `.${name}`).join('');
    case 'variable':
      return node.names.join('.');
    case 'identifier':
      return node.name;
    case 'chain': {
      const inner = node.node.type === 'pipe' ? `(${describe(node.node)})` : describe(node.node);
      return inner + node.names.map((name) => `.${name}`).join('');
    }
  }
}
