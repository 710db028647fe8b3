export { goldenDomainXml } from './golden-domain.ts';
export { goldenLauncherPod } from './golden-pod.ts';
