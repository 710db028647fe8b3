/** Version of Slipway itself. */
export const VERSION = '0.1.0';
