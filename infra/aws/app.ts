import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';

import { isFairleadError } from '#shared/errors.ts';
import { acknowledge } from './findings.ts';
import { readSettings } from './settings.ts';
import { FairleadStack } from './stack.ts';

/** The CDK app: `cdk.json` runs it. A finding of cdk-nag without a reason fails the synthesis. */
try {
  const app = new App();
  const stack = new FairleadStack(app, readSettings(app.node));
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  acknowledge(stack);
} catch (error) {
  if (!isFairleadError(error)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
