export { goldenDomainXml } from './golden-domain.ts';
