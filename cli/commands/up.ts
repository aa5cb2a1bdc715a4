import { rmSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Command } from 'commander';

import { defaultDataDir, localFile, type Settings } from '../client/settings.ts';
import type { Io } from '../io.ts';
import type { Session } from '../session.ts';

const DEFAULT_LISTEN = '127.0.0.1:8443';

interface Options {
  readonly listen: string;
  readonly url?: string;
}
export function registerUp(program: Command, session: Session): void {
  void program;
  void session;
}
