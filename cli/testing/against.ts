import { fairlead, FakeIo } from './io.ts';
import { TestServer, type Routes } from './server.ts';

/** Runs the command against a server with these routes; answers what was printed, and what the server was asked. */
export async function against(routes: Routes, words: string[], stdin?: string) {
  await using server = await TestServer.start(routes);
  const io = new FakeIo(server.env);
  io.stdin.end(stdin);
  return {
    ...(await fairlead(io, ...words)),
    calls: server.calls,
    bodies: server.seen.map(({ body }) => body),
    seen: server.seen,
  };
}
