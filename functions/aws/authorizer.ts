import { authorize } from '../link/authorize.ts';
import { authorizerPorts } from './deployment.ts';
import { toConnectEvent, type GatewayConnectEvent } from './websocket-event.ts';

const ports = authorizerPorts(process.env);

/** What a Lambda authorizer returns: an IAM policy, and the context that every later event of the connection carries. */
interface Policy {
  readonly principalId: string;
  readonly policyDocument: {
    readonly Version: '2012-10-17';
    readonly Statement: readonly [
      { readonly Action: string; readonly Effect: 'Allow' | 'Deny'; readonly Resource: string },
    ];
  };
  readonly context: Readonly<Record<string, string>>;
}

/** REQUEST authorizer of `$connect`: decides whether a websocket may open. */
export async function handler(event: GatewayConnectEvent & { readonly methodArn: string }): Promise<Policy> {
  const { allow, context } = await authorize(ports, toConnectEvent(event));
  const statement = {
    Action: 'execute-api:Invoke',
    Effect: allow ? 'Allow' : 'Deny',
    Resource: event.methodArn,
  } as const;
  return {
    principalId: context['id'] ?? 'nobody',
    policyDocument: { Version: '2012-10-17', Statement: [statement] },
    context,
  };
}
