/** The template is not one; the message has Go's words. */
export class TemplateParseError extends Error {}
