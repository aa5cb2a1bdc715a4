/**
 * `npm test`: sets up what is missing, then runs every check and test there is, and ends with one line of counts.
 * Plain JavaScript that runs on Node 20; the tests themselves run on Node 24.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { node24 } from './node24.mjs';
import { ensureDebianPackages, ensureNodePackages } from './packages.mjs';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const REPORTS = join(PROJECT, '.cache');
const SOURCES = ['shared', 'functions', 'host-connector', 'cli', 'infra', 'test', 'vitest.config.ts'];

const E2E = ['-c', 'test/e2e/vitest.config.ts'];
/** What is run again with a gateway that loses and reorders, and with functions that forget everything between two calls. */
const IN_EVERY_MODE = ['test/e2e/fleet.test.ts', 'test/e2e/exec.test.ts'];

/** The chaos of `npm test` is the same each time; others by hand, with FAIRLEAD_SEED. */
const SEED = process.env['FAIRLEAD_SEED'] ?? '21';

const counts = { passed: 0, failed: 0, skipped: 0 };

/** Runs one of the project's programs with Node 24 first in PATH. @param {string[]} argv @param {NodeJS.ProcessEnv} [env] */
function program([name, ...args], env = {}) {
  const path = [join(node24(PROJECT), '..'), join(PROJECT, 'node_modules/.bin'), process.env['PATH']].join(delimiter);
  const run = spawnSync(name, args, { cwd: PROJECT, stdio: 'inherit', env: { ...process.env, ...env, PATH: path } });
  return run.status === 0;
}

/** @param {string} title @param {() => void} stage */
function timed(title, stage) {
  console.log(`\n── ${title}`);
  const start = performance.now();
  stage();
  console.log(`   ${title}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

/** A check counts as one test. @param {string} title @param {string[]} argv */
function check(title, argv) {
  timed(title, () => (counts[program(argv) ? 'passed' : 'failed'] += 1));
}

/** A vitest run; its own counts are added. @param {string} title @param {string[]} args @param {NodeJS.ProcessEnv} [env] */
function suite(title, args, env) {
  const report = join(REPORTS, `${title.replaceAll(/\W+/g, '-')}.json`);
  rmSync(report, { force: true });
  timed(title, () => {
    const ok = program(
      ['vitest', 'run', ...args, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
      env,
    );
    const result = readReport(report);
    counts.passed += result.passed;
    counts.skipped += result.skipped;
    // A run that died, or a file that did not load, has failed though no test in it did.
    counts.failed += Math.max(result.failed, ok ? 0 : 1);
  });
}

/** @param {string} file */
function readReport(file) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    const skipped = report.numPendingTests + report.numTodoTests;
    return { passed: report.numPassedTests, failed: report.numFailedTests, skipped };
  } catch (error) {
    console.error(`   no report: ${error instanceof Error ? error.message : String(error)}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/** @param {string} reason */
function skip(reason) {
  console.log(`\n── skipped: ${reason}`);
  counts.skipped += 1;
}

/** @returns {string | undefined} why the lab cannot run here */
function noLab() {
  if (process.getuid?.() !== 0)
    return 'the end-to-end tests need root, for namespaces and containers: run "sudo npm test"';
  const outcome = ensureDebianPackages();
  return outcome.ok ? undefined : `the end-to-end tests need Debian packages: ${outcome.reason}`;
}

const packages = ensureNodePackages();
if (!packages.ok) {
  console.error(packages.reason);
  process.exit(1);
}
mkdirSync(REPORTS, { recursive: true });
check('types', ['tsc', '--noEmit', '-p', '.']);
check('lint', ['oxlint', '--type-aware', ...SOURCES]);
check('format', ['oxfmt', '--check', ...SOURCES]);
check('unused code', ['knip']);
suite('unit and property tests', []);
const reason = noLab();
if (reason !== undefined) skip(reason);
else {
  suite('the ports on AWS', ['-c', 'test/aws/vitest.config.ts']);
  suite('end-to-end tests in the lab', E2E);
  for (const mode of ['chaos', 'fresh']) {
    suite(`end-to-end tests, ${mode}`, [...E2E, ...IN_EVERY_MODE], { FAIRLEAD_E2E: mode, FAIRLEAD_SEED: SEED });
  }
}

console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;
