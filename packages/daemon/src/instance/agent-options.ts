/** What `slipway up` is told about the node agents and remembers. */
export interface AgentOptions {
  /** Image imports may reach addresses of this machine. */
  readonly allowLoopbackImports?: true;
}

/** The options as the command line has them. */
export interface AgentFlags {
  readonly allowLoopbackImports?: boolean;
}

/** What is remembered, with what the flags say anew. Pure. */
export function withAgentFlags(remembered: AgentOptions, flags: AgentFlags): AgentOptions {
  return (flags.allowLoopbackImports ?? remembered.allowLoopbackImports) ? { allowLoopbackImports: true } : {};
}

/** Networks that image imports may reach although they are refused by default. */
export const importAddressesOf = ({ allowLoopbackImports }: AgentOptions): readonly string[] =>
  allowLoopbackImports ? ['127.0.0.0/8', '::1/128'] : [];
