export { DisplaySession } from './display-session.ts';
