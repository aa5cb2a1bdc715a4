import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Node } from 'constructs';
import * as z from 'zod';

import { FairleadError } from '#shared/errors.ts';

/** The functions of a deployment; `ingest` and `sweep` are two sizes of the same code. */
export const FUNCTIONS = ['http', 'authorizer', 'link', 'ingest', 'sweep', 'bootstrap'] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

const domainName = z.string().regex(/^([a-z0-9-]+\.)+[a-z]{2,}$/, 'must be a domain name in lower case');
const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')]).default(false);
const arn = z.string().startsWith('arn:');

/** `a=1,b=2`, as one gives it on a command line, or an object of cdk.json. */
function pairs<T extends z.ZodType>(value: T) {
  const split = z.string().transform((text) => Object.fromEntries(text.split(',').map((pair) => pair.split('=', 2))));
  return z.union([split, z.record(z.string(), z.unknown())]).pipe(z.record(z.string(), value));
}

const shape = z.strictObject({
  /** Name of the stack; a second one in the same account and Region is a second deployment. */
  name: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9-]{0,40}$/)
    .default('Fairlead'),
  /** Where users and hosts reach the API, instead of API Gateway's own name. */
  domain: domainName.optional(),
  /** The same for websockets; API Gateway needs a name of its own for them. */
  linkDomain: domainName.optional(),
  /** A certificate of this Region for both names; not needed with a zone. */
  certificate: arn.optional(),
  /** A Route 53 zone: certificate and DNS records are then made here. */
  zoneId: z.string().optional(),
  zoneName: domainName.optional(),
  /** Only when something of one's own stands before the API. */
  publicUrl: z.url({ protocol: /^https$/ }).optional(),
  /** Signed downloads by way of CloudFront, which is cheaper; not the default until somebody has tried it (docs/aws.md). */
  downloads: z.enum(['s3', 'cloudfront']).default('s3'),
  alarmEmail: z.email().optional(),
  /** CloudWatch knows these only. */
  logDays: z.coerce.number().pipe(z.enum(RetentionDays)).default(RetentionDays.ONE_MONTH),
  /** Makes data deletable, and deletes it with the stack. */
  destroyData: flag,
  /** Requests, and messages with posts, that are let in a second; the account's quota is shared by both. */
  httpRate: z.coerce.number().int().positive().default(2000),
  linkRate: z.coerce.number().int().positive().default(6000),
  /** Concurrency set aside, such as `http=100,link=200`. New accounts have too little to set any aside. */
  reserve: pairs(z.coerce.number().int().positive()).default({}),
  /** A table restored from a backup, to be used instead of the stack's own. */
  table: z.string().optional(),
  /** As of when: hosts that connected last before then are known by an older secret than they hold. */
  restoredAt: z.iso.datetime().optional(),
  tags: pairs(z.string()).default({}),
});

/** What a deployment can be told, by `-c key=value` or in `context` of cdk.json. Nothing has to be. */
export type Settings = Omit<z.infer<typeof shape>, 'domain' | 'linkDomain' | 'certificate' | 'zoneId' | 'zoneName'> & {
  readonly domains?: Domains;
};

/** Names of one's own, and who vouches for them. */
export interface Domains {
  readonly api: string;
  readonly link: string;
  readonly proof: { readonly certificate: string } | { readonly zone: { readonly id: string; readonly name: string } };
}

/** Reads the settings. @throws FairleadError `bad_config` that names the key. */
export function readSettings(node: Node): Settings {
  const given = Object.keys(shape.shape).map((key) => [key, node.tryGetContext(key) as unknown] as const);
  const parsed = shape.safeParse(Object.fromEntries(given.filter(([, value]) => value !== undefined)));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FairleadError('bad_config', `Context "${issue?.path.join('.')}": ${issue?.message}. See docs/aws.md.`);
  }
  const { domain, linkDomain, certificate, zoneId, zoneName, ...rest } = parsed.data;
  mustBeFunctions(Object.keys(rest.reserve));
  const domains = domainsOf({ domain, linkDomain, certificate, zoneId, zoneName });
  return { ...rest, ...(domains && { domains }) };
}

function mustBeFunctions(names: readonly string[]): void {
  const unknown = names.find((name) => !FUNCTIONS.some((known) => known === name));
  if (unknown === undefined) return;
  throw new FairleadError(
    'bad_config',
    `Context "reserve": no function "${unknown}"; there are ${FUNCTIONS.join(', ')}.`,
  );
}

type DomainSettings = Record<'domain' | 'linkDomain' | 'certificate' | 'zoneId' | 'zoneName', string | undefined>;

function domainsOf({ domain, linkDomain, certificate, zoneId, zoneName }: DomainSettings): Domains | undefined {
  if (domain === undefined) {
    if (linkDomain === undefined && certificate === undefined && zoneId === undefined) return undefined;
    throw new FairleadError('bad_config', 'Context "domain" is missing: linkDomain, certificate and zone go with it.');
  }
  const names = { api: domain, link: linkDomain ?? `link.${domain}` };
  if (zoneId !== undefined && zoneName !== undefined)
    return { ...names, proof: { zone: { id: zoneId, name: zoneName } } };
  if (certificate !== undefined) return { ...names, proof: { certificate } };
  throw new FairleadError(
    'bad_config',
    `Context "domain" needs a certificate: give its ARN as "certificate" (for ${names.api} and ${names.link}), or "zoneId" and "zoneName".`,
  );
}
