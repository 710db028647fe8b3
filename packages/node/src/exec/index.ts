export { exitStatus, runCommand } from './run-command.ts';
export { enterSandbox, parseSize, parseTerminal, planCommand } from './plan-command.ts';
