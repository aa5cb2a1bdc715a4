import { bootstrapLocalUser } from '../domain/trust/local.ts';
import { bootstrapPorts } from './deployment.ts';

const ports = bootstrapPorts(process.env);

/** The file from which the `fairlead` command reads where its control plane is and who asks. No fingerprint: the certificate is a public one. */
interface ClientFile {
  readonly url: string;
  readonly token: string;
}

/** The first login: a token of a fleet administrator. Whoever may invoke this function may do anything; nothing else calls it. */
export async function handler(): Promise<ClientFile> {
  const { token } = await bootstrapLocalUser(ports);
  return { url: ports.publicUrl, token };
}
