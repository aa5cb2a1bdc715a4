import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { isFairleadError } from '#shared/errors.ts';
import { parseImageMetadata } from './metadata.ts';

const parse = (text: string) => parseImageMetadata(new TextEncoder().encode(text));
const MINIMUM = 'architecture: x86_64\ncreation_date: 1463683200\n';

describe('parseImageMetadata', () => {
  it('reads what image builders write', () => {
    const text = `architecture: "x86_64"
creation_date: 1463683200
expiry_date: 1466275200
properties:
  description: Ubuntu 16.04 LTS
  serial: 20160519
  mode: 0755
  variant:
templates:
  /var/lib/cloud/seed/nocloud-net/meta-data:
    when:
      - create
      - copy
    template: cloud-init-meta.tpl
  /etc/hosts:
    template: hosts.tpl
    create_only: true
    properties: { default: "#cloud-config\\n{}" }
`;
    expect(parse(text)).toEqual({
      architecture: 'x86_64',
      creation_date: 1_463_683_200,
      expiry_date: 1_466_275_200,
      properties: { description: 'Ubuntu 16.04 LTS', serial: '20160519', mode: '0755', variant: '' },
      templates: {
        '/var/lib/cloud/seed/nocloud-net/meta-data': {
          when: ['create', 'copy'],
          create_only: false,
          template: 'cloud-init-meta.tpl',
          properties: {},
        },
        '/etc/hosts': {
          when: [],
          create_only: true,
          template: 'hosts.tpl',
          properties: { default: '#cloud-config\n{}' },
        },
      },
    });
  });

  it('needs only an architecture and a date, also as JSON', () => {
    expect(parse(MINIMUM)).toEqual({
      architecture: 'x86_64',
      creation_date: 1_463_683_200,
      expiry_date: 0,
      properties: {},
      templates: {},
    });
    expect(parse('{"architecture":"aarch64","creation_date":1,"templates":{}}').architecture).toBe('aarch64');
  });

  it.each([
    ['no date', 'architecture: x86_64\n', /creation_date/],
    ['a date that is none', 'architecture: x86_64\ncreation_date: yesterday\n', /seconds since 1970/],
    ['an architecture with a path', 'architecture: ../x\ncreation_date: 1\n', /architecture/],
    ['a list', '- a\n', /expected object/],
    ['nothing', '', /expected object/],
    ['aliases', `${MINIMUM}properties: &a { b: c }\nx: *a\n`, /aliases/],
    ['an alias bomb', `a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n${MINIMUM}`, /aliases/],
    ['tags', `${MINIMUM}properties: !!js/function x\n`, /tags/],
    ['two documents', `${MINIMUM}---\n${MINIMUM}`, /multiple documents/],
    ['a key twice', `${MINIMUM}${MINIMUM}`, /twice/],
    ['a template outside', `${MINIMUM}templates: { /etc/x: { template: ../../etc/shadow } }`, /plain file name/],
    ['a target outside', `${MINIMUM}templates: { /etc/../../x: { template: x.tpl } }`, /templates/],
    ['a relative target', `${MINIMUM}templates: { etc/x: { template: x.tpl } }`, /templates/],
    ['a property that is a list', `${MINIMUM}properties: { a: [b] }`, /properties.a/],
    ['a property with escape characters', `${MINIMUM}properties: { a: "\\e[31m" }`, /control characters/],
    ['brackets without end', '['.repeat(900_000), /too many or too deep/],
    ['deep brackets', '['.repeat(40_000), /cannot be used/],
    ['2 MiB', `${MINIMUM}#${'x'.repeat(2 * 1024 * 1024)}`, /larger than 1 MiB/],
  ])('refuses %s', (_what, text, why) => {
    expect(() => parse(text)).toThrow(why);
  });

  it('refuses what is not UTF-8', () => {
    expect(() => parseImageMetadata(Uint8Array.of(0xff, 0xfe))).toThrow(/not UTF-8/);
  });

  it('answers any text with metadata or bad_image, in little time', () => {
    const value = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.constant(null),
      fc.array(fc.string(), { maxLength: 3 }),
      fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
    );
    const document = fc.record(
      { architecture: value, creation_date: value, properties: value, templates: fc.dictionary(fc.string(), value) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          document.map((object) => stringify(object)),
          fc.string({ maxLength: 500 }),
        ),
        (text) => {
          try {
            parse(text);
          } catch (error) {
            expect(isFairleadError(error, 'bad_image')).toBe(true);
          }
        },
      ),
    );
  });
});
