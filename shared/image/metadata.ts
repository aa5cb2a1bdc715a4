/** metadata.yaml of an image, as LXD 2.0 and later write it. Read as hostile text: bounded, no aliases, no tags, one document. */
import { isAlias, isCollection, isMap, isNode, isScalar, parseDocument, visit, type Document } from 'yaml';
import * as z from 'zod';
import { FairleadError } from '#shared/errors.ts';
import { MAX_METADATA_BYTES, MAX_PATH_BYTES } from './inspect.ts';

/** Most nodes of a metadata.yaml: real ones have about a hundred. */
const MAX_YAML_NODES = 20_000;
/** Most signs that could begin a node: counted first, because the parser needs seconds for a megabyte of brackets. */
const MAX_YAML_SIGNS = 50_000;
const MAX_DEPTH = 32;

/** Every scalar arrives as the text that stands in the file, so that `0755`, `1.0` and `no` stay what they are. */
const seconds = z
  .string()
  .regex(/^\d{1,12}$/, 'must be a time in seconds since 1970')
  .transform(Number);
const flag = z.stringbool({ truthy: ['true', 'yes', 'on', 'y'], falsy: ['false', 'no', 'off', 'n', ''] });
const noControls = z
  .string()
  .max(65_536)
  .refine((text) => !/(?![\t\n])\p{Cc}/u.test(text), 'contains control characters');
const emptyAsNothing = (value: unknown) => (value === '' ? undefined : value);
const strings = z.preprocess(emptyAsNothing, z.record(noControls, noControls).default({}));

const templateName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be a plain file name in templates/');
const targetPath = z
  .string()
  .max(MAX_PATH_BYTES)
  .refine(
    (path) => path.startsWith('/') && !/\p{Cc}/u.test(path) && !path.split('/').includes('..'),
    'must be an absolute path',
  );

const template = z.object({
  when: z.preprocess(emptyAsNothing, z.array(z.string().max(32)).max(16).default([])),
  create_only: flag.default(false),
  template: templateName,
  properties: strings,
});

const schema = z.object({
  architecture: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, 'must be the name of an architecture'),
  creation_date: seconds,
  expiry_date: z.preprocess(emptyAsNothing, seconds.default(0)),
  properties: strings,
  templates: z.preprocess(emptyAsNothing, z.record(targetPath, template).default({})),
});

/** The parts of metadata.yaml that Fairlead uses. Times in seconds since 1970; `expiry_date` 0 means never. */
export type ImageMetadata = z.infer<typeof schema>;

/**
 * Parses and checks metadata.yaml.
 * @param bytes the whole file
 * @throws FairleadError `bad_image` that says what is wrong with it
 */
export function parseImageMetadata(bytes: Uint8Array): ImageMetadata {
  if (bytes.length > MAX_METADATA_BYTES) throw bad('it is larger than 1 MiB');
  const parsed = schema.safeParse(toPlain(decode(bytes)));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw bad(`${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'invalid'}`);
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw bad('it is not UTF-8 text', cause);
  }
}

function toPlain(text: string): unknown {
  if ((text.match(/[[{:?,\n-]/g)?.length ?? 0) > MAX_YAML_SIGNS) throw bad('it has too many or too deep parts');
  try {
    // Unique keys are checked below: the parser's own check takes quadratic time.
    const document = parseDocument(text, {
      schema: 'failsafe',
      uniqueKeys: false,
      logLevel: 'error',
      prettyErrors: false,
    });
    const [error] = document.errors;
    if (error !== undefined) throw bad(error.message);
    refuseTricks(document);
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    if (cause instanceof FairleadError) throw cause;
    throw bad('it is no readable YAML', cause);
  }
}

/** What the parser itself notes at collections that have no tag. */
const IMPLICIT_TAGS = new Set(['tag:yaml.org,2002:map', 'tag:yaml.org,2002:seq']);

function refuseTricks(document: Document.Parsed): void {
  let nodes = 0;
  visit(document, (_key, node, path) => {
    nodes += 1;
    if (nodes > MAX_YAML_NODES || path.length > 2 * MAX_DEPTH) throw bad('it has too many or too deep parts');
    if (isAlias(node) || (isNode(node) && 'anchor' in node && node.anchor !== undefined)) throw bad('it uses aliases');
    if (isNode(node) && node.tag !== undefined && !(isCollection(node) && IMPLICIT_TAGS.has(node.tag)))
      throw bad('it uses tags');
    if (!isMap(node)) return;
    const keys = node.items.map(({ key }) => (isScalar(key) ? key.value : undefined));
    if (keys.some((key) => typeof key !== 'string')) throw bad('it has a key that is no text');
    if (new Set(keys).size !== keys.length) throw bad('it has the same key twice');
  });
}

function bad(why: string, cause?: unknown): FairleadError {
  return new FairleadError(
    'bad_image',
    `The image's metadata.yaml cannot be used: ${why}. Repair it and upload the image again.`,
    { cause },
  );
}
