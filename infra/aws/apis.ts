import { RemovalPolicy } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import {
  HttpApi,
  HttpRoute,
  HttpRouteKey,
  HttpStage,
  LogGroupLogDestination,
  WebSocketApi,
  WebSocketStage,
  type CfnAuthorizer,
} from 'aws-cdk-lib/aws-apigatewayv2';
import { WebSocketLambdaAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration, WebSocketLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

import type { DomainNames } from './domains.ts';
import { HeartbeatRoute } from './heartbeat.ts';
import type { Settings } from './settings.ts';

const STAGE = 'live';
/**
 * Of the account's 10,000 requests a second (in most Regions) that all its APIs share: neither a flood of requests nor one of messages takes
 * everything. The burst is half of it, as AWS has it.
 */
const limit = (rateLimit: number) => ({ rateLimit, burstLimit: Math.ceil(rateLimit / 2) });

export interface Handlers {
  readonly http: IFunction;
  readonly authorizer: IFunction;
  readonly link: IFunction;
}

/** The two doors: requests, and websockets. They exist before the functions, which are told where they are. */
export class Apis extends Construct {
  readonly http: HttpApi;
  readonly websocket: WebSocketApi;
  readonly stage: WebSocketStage;
  /** Where users and hosts reach the API, and where they open websockets. */
  readonly publicUrl: string;
  readonly linkUrl: string;

  constructor(scope: Construct, id: string, settings: Settings, names: DomainNames | undefined) {
    super(scope, id);
    this.http = new HttpApi(this, 'Http', {
      apiName: `${settings.name}-http`,
      createDefaultStage: false,
      disableExecuteApiEndpoint: names !== undefined,
    });
    new HttpStage(this, 'HttpStage', {
      httpApi: this.http,
      stageName: '$default',
      autoDeploy: true,
      throttle: limit(settings.httpRate),
      detailedMetricsEnabled: true,
      accessLogSettings: {
        destination: new LogGroupLogDestination(
          new LogGroup(this, 'AccessLog', {
            retention: settings.logDays,
            removalPolicy: settings.destroyData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
          }),
        ),
        format: AccessLogFormat.custom(ACCESS_LOG),
      },
      ...(names && { domainMapping: { domainName: names.api } }),
    });
    this.websocket = new WebSocketApi(this, 'Websocket', {
      apiName: `${settings.name}-link`,
      routeSelectionExpression: '$request.body.t',
    });
    this.stage = new WebSocketStage(this, 'WebsocketStage', {
      webSocketApi: this.websocket,
      stageName: STAGE,
      autoDeploy: true,
      throttle: limit(settings.linkRate),
      ...(names && { domainMapping: { domainName: names.link } }),
    });
    const own = settings.domains;
    this.publicUrl = settings.publicUrl ?? (own ? `https://${own.api}` : this.http.apiEndpoint);
    this.linkUrl = own ? `wss://${own.link}` : `${this.websocket.apiEndpoint}/${STAGE}`;
  }

  /** Says who answers. */
  route({ http, authorizer, link }: Handlers): void {
    new HttpRoute(this, 'Requests', {
      httpApi: this.http,
      routeKey: HttpRouteKey.DEFAULT,
      integration: new HttpLambdaIntegration('Requests', http),
    });
    this.websocket.addRoute('$connect', {
      integration: new WebSocketLambdaIntegration('Connect', link),
      authorizer: new WebSocketLambdaAuthorizer('Authorizer', authorizer, { identitySource: [] }),
    });
    // None: whether API Gateway minds the case of the header's name is not written down anywhere, and the function looks for it anyway.
    (this.websocket.node.findChild('Authorizer').node.defaultChild as CfnAuthorizer).addPropertyDeletionOverride(
      'IdentitySource',
    );
    this.websocket.addRoute('$disconnect', { integration: new WebSocketLambdaIntegration('Disconnect', link) });
    this.websocket.addRoute('$default', { integration: new WebSocketLambdaIntegration('Message', link) });
    new HeartbeatRoute(this, 'Heartbeat', this.websocket);
  }
}

/** Neither query nor headers: they may hold secrets. */
const ACCESS_LOG = JSON.stringify({
  time: '$context.requestTime',
  id: '$context.requestId',
  ip: '$context.identity.sourceIp',
  method: '$context.httpMethod',
  path: '$context.path',
  status: '$context.status',
  ms: '$context.responseLatency',
  error: '$context.integrationErrorMessage',
});
