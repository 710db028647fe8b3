export { adaptDomain, type DevicePlaces, diskTargets } from './adapt-domain.ts';
export { finishResume, type ResumeDeps, resumeGuest } from './resume-guest.ts';
export { saveMemory } from './save-memory.ts';
