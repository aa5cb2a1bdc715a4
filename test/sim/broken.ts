import type { Functions } from '../../functions/functions.ts';
import type { Journal } from '../../host-connector/commands/journal.ts';
import type { Build } from './run.ts';

/** Builds that are broken on purpose: the simulator must notice each of them. */

/** Acts on a command as often as it comes. */
export const skipsJournal: Build = {
  journal: (journal) => {
    const own: Partial<Journal> = {
      lookup: () => undefined,
      begin: (id, command) => {
        if (journal.lookup(id) === undefined) journal.begin(id, command);
      },
    };
    return new Proxy(journal, {
      get: (_, name: keyof Journal) => own[name] ?? journal[name].bind(journal),
    });
  },
};

/** Takes whatever a host says for news, also what it heard before: every look gets a number above all others. */
export const skipsDedupe: Build = {
  functions: (functions: Functions) => {
    let newest = 1_000_000;
    const asNews = (body: string): string => body.replace(/"seq":\d+/, () => `"seq":${++newest}`);
    return { ...functions, message: (event) => functions.message({ ...event, body: asNews(event.body) }) };
  },
};

/** Writes instances whatever was written in between. */
export const forgetsCondition: Build = {
  records: (records) => ({
    get: (key) => records.get(key),
    query: (pk, query) => records.query(pk, query),
    transact: async (writes) => {
      const present = await Promise.all(
        writes.map(async ({ op, key }) =>
          op === 'put' && key.pk.startsWith('INSTANCES#') ? records.get(key) : undefined,
        ),
      );
      await records.transact(
        writes.map((write, at) => {
          const rev = present[at]?.rev;
          return write.op === 'put' && rev !== undefined ? { ...write, when: { rev } } : write;
        }),
      );
    },
  }),
};
