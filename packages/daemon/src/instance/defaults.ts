export const DEFAULT_DATA_DIR = '/var/lib/slipway';
export const DEFAULT_LISTEN = '127.0.0.1:6443';
export const DEFAULT_HOST = '127.0.0.1';
export const DEFAULT_PORT = 6443;
