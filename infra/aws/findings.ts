import { Validations, type Stack } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** A finding of cdk-nag that is meant so: where, and why. */
interface Acknowledged {
  readonly id: string;
  /** Constructs of the stack. */
  readonly at: readonly string[];
  readonly reason: string;
}

const CONNECTIONS = 'arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:<ApisWebsocket344D2FBD>/live';
const OBJECTS = '<StorageObjectsAC4CDBF6.Arn>';
const wildcard = (resource: string, functions: readonly string[], reason: string): Acknowledged => ({
  id: `AwsSolutions-IAM5[Resource::${resource}]`,
  at: functions.map((name) => `Functions/${name}/Role`),
  reason,
});

/** Every finding there is. Any other fails the synthesis, and one that is no more fails a test. */
export const ACKNOWLEDGED: readonly Acknowledged[] = [
  wildcard(
    `${CONNECTIONS}/POST/@connections/*`,
    ['http', 'link', 'ingest', 'sweep'],
    'Connection ids are made by API Gateway; the stage is exact.',
  ),
  wildcard(
    `${CONNECTIONS}/DELETE/@connections/*`,
    ['http', 'authorizer', 'link', 'ingest', 'sweep'],
    'Connection ids are made by API Gateway; the stage is exact.',
  ),
  wildcard(
    `${OBJECTS}/upload/*`,
    ['http', 'link', 'ingest', 'sweep'],
    'Uploads have random names; the prefix is exact.',
  ),
  wildcard(`${OBJECTS}/jobs/*`, ['http', 'link', 'ingest', 'sweep'], 'Jobs have random names; the prefix is exact.'),
  {
    id: 'AwsSolutions-APIG4',
    at: ['Apis/Requests'],
    reason:
      'The API authenticates by itself: every route declares its entitlement, and a test calls each as each role.',
  },
  {
    id: 'AwsSolutions-APIG4',
    at: ['Apis/Websocket/$disconnect-Route', 'Apis/Websocket/$default-Route', 'Apis/Heartbeat/Route'],
    reason: 'A websocket is authorized once, at $connect; API Gateway has no authorization of single messages.',
  },
  {
    id: 'AwsSolutions-APIG1',
    at: ['Apis/WebsocketStage'],
    reason:
      "Logs of websocket APIs need a role that is set for all of the account's APIs; the functions log each refusal.",
  },
  {
    id: 'AwsSolutions-S1',
    at: ['Storage/Objects', 'Storage/Catalogue'],
    reason: 'Access logs would hold signed URLs, which are good for whoever reads them; the catalogue is public.',
  },
  {
    id: 'AwsSolutions-SQS3',
    at: ['Jobs/Lost'],
    reason: 'It is itself where failed invocations and events end.',
  },
  {
    id: 'AwsSolutions-CFR1',
    at: ['Downloads/Distribution'],
    reason: 'Hosts may stand anywhere.',
  },
  {
    id: 'AwsSolutions-CFR2',
    at: ['Downloads/Distribution'],
    reason: 'It serves public files, and files whose signature S3 checks; there is nothing behind it to attack.',
  },
  {
    id: 'AwsSolutions-CFR3',
    at: ['Downloads/Distribution'],
    reason: 'Access logs would hold signed URLs, which are good for whoever reads them.',
  },
  {
    id: 'AwsSolutions-CFR4',
    at: ['Downloads/Distribution'],
    reason: "CloudFront's own name takes no other TLS policy; clients of ours refuse less than TLS 1.2.",
  },
  {
    id: 'AwsSolutions-CFR7',
    at: ['Downloads/Distribution'],
    reason: 'Below upload/ S3 itself checks the signature of each URL; the catalogue has origin access control.',
  },
];

/** Tells cdk-nag of them, each at its construct and nowhere else. */
export function acknowledge(stack: Stack): void {
  for (const { id, at, reason } of ACKNOWLEDGED) {
    for (const path of at) Validations.of(constructAt(stack, path)).acknowledge({ id, reason });
  }
}

function constructAt(stack: Stack, path: string): IConstruct {
  return path.split('/').reduce<IConstruct>((parent, id) => parent.node.findChild(id), stack);
}
