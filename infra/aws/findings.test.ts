import { Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { ACKNOWLEDGED } from './findings.ts';
import { testStack } from './synthesis.fixture.ts';

interface Report {
  readonly pluginReports: readonly {
    readonly violations: readonly {
      readonly ruleName: string;
      readonly violatingConstructs: readonly { readonly constructPath: string }[];
    }[];
  }[];
}

describe('cdk-nag', () => {
  const outdir = mkdtempSync(join(tmpdir(), 'fairlead-nag-'));
  afterAll(() => rmSync(outdir, { recursive: true }));

  it('finds what is acknowledged with a reason, at those places, and nothing else', () => {
    const { app } = testStack({}, outdir);
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    expect(() => app.synth()).toThrow('AwsSolutions');
    const report = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8')) as Report;
    const found = report.pluginReports
      .flatMap(({ violations }) => violations)
      .flatMap(({ ruleName, violatingConstructs }) =>
        violatingConstructs.map(({ constructPath }) => `${ruleName} ${constructPath}`),
      );
    const acknowledged = ACKNOWLEDGED.flatMap(({ id, at }) => at.map((path) => `${id} Fairlead/${path}`));
    // A finding is at the resource within the construct that is acknowledged.
    expect(found.map((one) => one.replace(/(\/DefaultPolicy)?\/Resource$/, '')).sort()).toEqual(acknowledged.sort());
  });
});
