import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';

import { readSettings } from './settings.ts';
import { FairleadStack } from './stack.ts';

/** A stack without bundles, which would take seconds; `npm run synth` makes them. */
export function testStack(
  context: Readonly<Record<string, unknown>> = {},
  outdir?: string,
): { app: App; stack: FairleadStack } {
  const app = new App({ context: { 'aws:cdk:bundling-stacks': [], ...context }, ...(outdir && { outdir }) });
  return { app, stack: new FairleadStack(app, readSettings(app.node)) };
}

export interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
  readonly DeletionPolicy?: string;
}

/** A synthesized template with lookups that tests need. */
export class Synthesized {
  readonly template: Template;
  readonly resources: Readonly<Record<string, Resource>>;

  constructor(context?: Readonly<Record<string, unknown>>) {
    this.template = Template.fromStack(testStack(context).stack);
    this.resources = (this.template.toJSON() as { Resources: Record<string, Resource> }).Resources;
  }

  /** Properties of every resource of a type. */
  all(type: string): Resource[] {
    return Object.values(this.resources).filter((resource) => resource.Type === type);
  }
}

interface Intrinsic {
  readonly Ref?: string;
  readonly 'Fn::GetAtt'?: readonly [string, string];
  readonly 'Fn::Join'?: readonly [string, readonly unknown[]];
}

/** A CloudFormation value as one reads it: `<id>`, `<id.Attribute>`. */
export function readable(value: unknown): string {
  if (typeof value === 'string') return value;
  const { Ref, 'Fn::GetAtt': attribute, 'Fn::Join': join } = value as Intrinsic;
  if (join !== undefined) return join[1].map(readable).join(join[0]);
  const name = attribute === undefined ? (Ref ?? '') : attribute.join('.');
  return `<${name.replace(/[0-9A-F]{8}(?=\.|$)/, '').replace(/^AWS::/, '')}>`;
}
