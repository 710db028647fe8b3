/** A repository or revision cannot be had; the message is for the application's conditions. */
export class SourceError extends Error {}
