import { AwsV4Signer } from 'aws4fetch';
import type { Clock, RegistryCredentials as Credentials } from '@slipway/runtime';
import type { Authorizer } from './http-client.ts';

const DEFAULT_REGION = 'us-east-1';

/**
 * Region that an S3 endpoint's requests are signed for: that of `s3.<region>.amazonaws.com`, else the first label of the
 * host. KubeVirt-compat: CDI derives it so; an address has no labels and gets the region every store of one's own takes.
 */
export function s3Region({ hostname }: URL): string {
  const amazon = /^(?:.+\.)?s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/.exec(hostname);
  if (amazon?.[1] !== undefined) return amazon[1];
  if (hostname.endsWith('amazonaws.com') || /^[\d.]+$|^\[/.test(hostname)) return DEFAULT_REGION;
  return hostname.split('.')[0] || DEFAULT_REGION;
}

/** The same object with every "+" of its key spelled out: some stores, and the signer, take a bare one for a space. */
export function s3Object(source: URL): URL {
  const url = new URL(source);
  url.pathname = url.pathname.replaceAll('+', '%2B');
  return url;
}

/** Signs reads of an S3 object with AWS Signature Version 4; goes over to the region that the store names, once. */
export function s3Authorizer(endpoint: URL, credentials: Credentials, clock: Clock): Authorizer {
  let region = s3Region(endpoint);
  let isCorrected = false;
  return {
    async headers(url) {
      const signer = new AwsV4Signer({
        url: url.href,
        method: 'GET',
        service: 's3',
        region,
        accessKeyId: credentials.username,
        secretAccessKey: credentials.password,
        datetime: new Date(clock.now()).toISOString().replaceAll(/[:-]|\.\d{3}/g, ''),
      });
      const { headers } = await signer.sign();
      return Object.fromEntries(headers.entries());
    },
    mayTryAgain({ status, headers }) {
      const named = headers['x-amz-bucket-region'];
      if (isCorrected || status < 300 || typeof named !== 'string' || named === region) return false;
      isCorrected = true;
      region = named;
      return true;
    },
  };
}
