/**
 * What a log line may not hold: secrets by the name of their field, and by their look wherever they stand. Sizes are bounded too, so that
 * nobody fills the disk through the log.
 */

const REDACTED = '[redacted]';
const MAX_TEXT = 2000;
const MAX_ITEMS = 50;
const MAX_DEPTH = 6;

/** Fields whose value is never shown. `environment.*`, `user.*` and `cloud-init.*` are instance configuration that carries passwords. */
const SECRET_FIELD =
  /secret|token|authori[sz]ation|passw|passphrase|cookie|signature|ticket|credential|private|api-?key|^(sig|env|environment|jws|jwt|nonce)$|^(environment|user|cloud-init)\./i;

const SECRET_TEXT: readonly [RegExp, string][] = [
  [/eyJ[\w-]{8,}(\.[\w-]*)*/g, REDACTED],
  [
    /((?:^|[?&;\s])(?:x-amz-(?:signature|credential|security-token)|sig|secret|token|password|ticket)=)[^&\s"'<>]+/gi,
    `$1${REDACTED}`,
  ],
  [/\b(Bearer|Basic|Digest)\s+[\w.~+/=-]{6,}/gi, `$1 ${REDACTED}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
];

/** A copy of any value that a log may hold: secrets hidden, errors unfolded, sizes bounded. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (value === null || typeof value === 'number' || typeof value === 'boolean' || value === undefined) return value;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object') return `[${typeof value}]`;
  if (depth >= MAX_DEPTH) return '[deeper]';
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (value instanceof Error) return redactError(value, depth);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => redact(item, depth + 1));
  const fields = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(fields.map(([name, field]) => [redactText(name), redactField(name, field, depth)]));
}

/** A text without what looks like a secret. */
export function redactText(text: string): string {
  const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
  return SECRET_TEXT.reduce((safe, [look, instead]) => safe.replaceAll(look, instead), cut);
}

function redactField(name: string, value: unknown, depth: number): unknown {
  const harmless = typeof value === 'number' || typeof value === 'boolean' || value === undefined || value === null;
  return SECRET_FIELD.test(name) && !harmless ? REDACTED : redact(value, depth + 1);
}

function redactError(error: Error, depth: number): unknown {
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? error.code : undefined;
  return {
    name,
    message: redactText(message),
    ...(code !== undefined && { code: redact(code, depth + 1) }),
    ...(stack !== undefined && { stack: redactText(stack) }),
    ...(cause !== undefined && { cause: redact(cause, depth + 1) }),
  };
}
