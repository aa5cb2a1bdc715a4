/** Runs inside a lab host: a whole connector whose link is its stdin and stdout, one frame a line. `node move.driver.ts URL-OF-THE-STORE ITS-PIN` */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';

import { Journal } from '../../host-connector/commands/journal.ts';
import { openConnector, run, type ConnectorParts } from '../../host-connector/connector.ts';
import { openDatabase } from '../../host-connector/database.ts';
import { realDisk } from '../../host-connector/disk.ts';
import { bootId } from '../../host-connector/host/boot.ts';
import { hostPaths } from '../../host-connector/host/paths.ts';
import { loadOrMakeKey } from '../../host-connector/identity/key.ts';
import type { Dial } from '../../host-connector/link/dial.ts';
import { Spool } from '../../host-connector/link/spool.ts';
import { openHost } from '../../host-connector/this-host.ts';
import { realWorld } from '../../host-connector/world.ts';

const [, , url = '', pin] = process.argv;
const paths = hostPaths();
const log = (level: string, text: string): void => void process.stderr.write(`${level} ${text}\n`);
const key = await loadOrMakeKey(paths.stateDir);
const db = openDatabase(paths.stateDir);
const host = await openHost(paths, db, { url, pin }, log);
await host.bridge.ensure();

const dial: Dial = (listener) => {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => listener.text(line));
  lines.on('close', () => process.exit(0));
  return Promise.resolve({
    send: (text) => void process.stdout.write(`${text}\n`),
    close: () => listener.closed('closed'),
  });
};
const parts: ConnectorParts = {
  host,
  moves: { ...host.moves, sign: (typ, payload) => key.sign(typ, payload) },
  journal: new Journal(db, () => Date.now()),
  spool: new Spool(db),
  stateDir: paths.stateDir,
  disk: realDisk,
  boot: await bootId(),
  record: { hostId: 'h', name: 'h', url, secret: { generation: 1, value: 'x' } },
  dialler: () => dial,
  world: realWorld,
  wallClock: () => Date.now(),
  newId: randomUUID,
  status: () => {},
  giveUp: () => {},
};
process.stdout.write(`${JSON.stringify({ t: 'key', jwk: key.jwk })}\n`);
await run(await openConnector(parts), parts);
