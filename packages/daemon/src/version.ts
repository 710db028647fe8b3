/** Version of Slipway itself. */
export const VERSION = '0.1.0';

/** What `virtctl version` and `subresources.kubevirt.io/v1/version` report: the KubeVirt API level that is served. */
export const KUBEVIRT_VERSION = {
  gitVersion: 'v1.9.0',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '',
  goVersion: '',
  compiler: 'slipway',
  platform: 'linux/amd64',
};
