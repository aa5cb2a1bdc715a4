import {
  CfnIntegration,
  CfnIntegrationResponse,
  CfnRoute,
  CfnRouteResponse,
  type WebSocketApi,
} from 'aws-cdk-lib/aws-apigatewayv2';
import { Construct } from 'constructs';

/** What a heartbeat is answered with; a frame of shared/link/frames.ts. */
export const ANSWER = JSON.stringify({ t: 'hb' });
/** The one template there is, whatever the content. */
const ANY = '\\$default';

/**
 * API Gateway answers a heartbeat by itself, so that an idle host costs two messages every eight minutes and never wakes a function.
 * Written out in all four parts, because the L2 form leaves out the response's template, and then answers nothing.
 */
export class HeartbeatRoute extends Construct {
  constructor(scope: Construct, id: string, api: WebSocketApi) {
    super(scope, id);
    const { apiId } = api;
    const integration = new CfnIntegration(this, 'Mock', {
      apiId,
      integrationType: 'MOCK',
      passthroughBehavior: 'NEVER',
      templateSelectionExpression: ANY,
      requestTemplates: { $default: '{"statusCode":200}' },
    });
    new CfnIntegrationResponse(this, 'Answer', {
      apiId,
      integrationId: integration.ref,
      integrationResponseKey: '$default',
      templateSelectionExpression: ANY,
      responseTemplates: { $default: ANSWER },
    });
    const route = new CfnRoute(this, 'Route', {
      apiId,
      routeKey: 'hb',
      authorizationType: 'NONE',
      target: `integrations/${integration.ref}`,
      routeResponseSelectionExpression: '$default',
    });
    new CfnRouteResponse(this, 'Response', { apiId, routeId: route.ref, routeResponseKey: '$default' });
  }
}
