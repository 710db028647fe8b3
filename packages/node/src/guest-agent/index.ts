export { asRecord, encodedText, readReturn, text } from './bounded.ts';
export type { GuestInterface } from './answers.ts';
export { type GuestAgent, guestAgent } from './guest-agent.ts';
export type { AgentProblem } from './agent-problem.ts';
