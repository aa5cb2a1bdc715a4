import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';

import { MAX_FRAME_BYTES } from '#shared/link/limits.ts';
import { decodeDown } from '#shared/link/frames.ts';
import { ANSWER } from './heartbeat.ts';
import { RECOVERY_DAYS } from './storage.ts';
import { readable, Synthesized } from './synthesis.fixture.ts';

const stack = new Synthesized();
const { template } = stack;
const KEPT = ['AWS::DynamoDB::GlobalTable', 'AWS::S3::Bucket', 'AWS::Logs::LogGroup'];

describe('the table', () => {
  it('is paid by request, can be restored to any second of five weeks, and is not deleted by mistake', () => {
    template.hasResourceProperties('AWS::DynamoDB::GlobalTable', {
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
      TimeToLiveSpecification: { AttributeName: 'ttl', Enabled: true },
      Replicas: [
        Match.objectLike({
          DeletionProtectionEnabled: true,
          PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true, RecoveryPeriodInDays: RECOVERY_DAYS },
        }),
      ],
      // No index, no stream: an index is a record of its own.
      GlobalSecondaryIndexes: Match.absent(),
      StreamSpecification: Match.absent(),
    });
  });
});

describe('the buckets', () => {
  it('are private, encrypted, without access lists, and keep what was deleted as long as the table remembers it', () => {
    template.resourceCountIs('AWS::S3::Bucket', 2);
    template.allResourcesProperties('AWS::S3::Bucket', {
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
      OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
      },
      VersioningConfiguration: { Status: 'Enabled' },
      LifecycleConfiguration: {
        Rules: Match.arrayWith([
          Match.objectLike({ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } }),
          Match.objectLike({ NoncurrentVersionExpiration: { NoncurrentDays: RECOVERY_DAYS } }),
        ]),
      },
    });
  });

  it('are reached over TLS 1.2 or better only', () => {
    template.resourceCountIs('AWS::S3::BucketPolicy', 2);
    const denied = (condition: object) =>
      Match.arrayWith([
        Match.objectLike({ Effect: 'Deny', Action: 's3:*', Principal: { AWS: '*' }, Condition: condition }),
      ]);
    for (const condition of [
      { Bool: { 'aws:SecureTransport': 'false' } },
      { NumericLessThan: { 's3:TlsVersion': 1.2 } },
    ]) {
      template.allResourcesProperties('AWS::S3::BucketPolicy', { PolicyDocument: { Statement: denied(condition) } });
    }
  });

  it('let jobs expire, and never an upload: images consist of them', () => {
    const expiring = stack
      .all('AWS::S3::Bucket')
      .flatMap(({ Properties }) => (Properties['LifecycleConfiguration'] as { Rules: Record<string, unknown>[] }).Rules)
      .filter((rule) => 'ExpirationInDays' in rule);
    expect(expiring).toEqual([{ ExpirationInDays: 1, Id: 'jobs', Prefix: 'jobs/', Status: 'Enabled' }]);
  });
});

describe('deleting the stack', () => {
  it('keeps records, objects and logs', () => {
    for (const type of KEPT) {
      expect(stack.all(type).map(({ DeletionPolicy }) => DeletionPolicy)).toEqual(stack.all(type).map(() => 'Retain'));
    }
  });

  it('deletes them when told so beforehand', () => {
    const told = new Synthesized({ destroyData: 'true' });
    for (const type of KEPT) {
      expect(told.all(type).map(({ DeletionPolicy }) => DeletionPolicy)).toEqual(told.all(type).map(() => 'Delete'));
    }
    told.template.hasResourceProperties('AWS::DynamoDB::GlobalTable', {
      Replicas: [Match.objectLike({ DeletionProtectionEnabled: false })],
    });
  });
});

describe('the functions', () => {
  it('run Node 24 on ARM, with a log of their own that ends after a month', () => {
    template.resourceCountIs('AWS::Lambda::Function', 6);
    template.allResourcesProperties('AWS::Lambda::Function', { Runtime: 'nodejs24.x', Architectures: ['arm64'] });
    template.allResourcesProperties('AWS::Logs::LogGroup', { RetentionInDays: 30 });
    const logs = stack
      .all('AWS::Lambda::Function')
      .map(({ Properties }) => readable((Properties['LoggingConfig'] as { LogGroup: unknown }).LogGroup));
    expect(new Set(logs).size).toBe(6);
  });

  it('are told names and no secret', () => {
    const variables = stack.all('AWS::Lambda::Function').map(({ Properties }) => {
      const { Variables } = Properties['Environment'] as { Variables: Record<string, unknown> };
      return Object.fromEntries(Object.entries(Variables).map(([name, value]) => [name, readable(value)]));
    });
    expect(variables).toEqual(
      variables.map(() => ({
        TABLE: '<StorageTable>',
        BUCKET: '<StorageObjects>',
        PUBLIC_URL: '<ApisHttp.ApiEndpoint>',
        LINK_URL: '<ApisWebsocket.ApiEndpoint>/live',
        LINK_ENDPOINT: 'https://<ApisWebsocket>.execute-api.<Region>.<URLSuffix>/live',
        NODE_OPTIONS: '--enable-source-maps',
      })),
    );
  });

  it('set no concurrency aside unless told: new accounts have ten', () => {
    template.allResourcesProperties('AWS::Lambda::Function', { ReservedConcurrentExecutions: Match.absent() });
  });
});

describe('the websocket API', () => {
  it('authorizes a handshake, and chooses by the kind of the frame', () => {
    template.hasResourceProperties('AWS::ApiGatewayV2::Api', {
      ProtocolType: 'WEBSOCKET',
      RouteSelectionExpression: '$request.body.t',
    });
    const routes = stack
      .all('AWS::ApiGatewayV2::Route')
      .map(({ Properties }) => `${String(Properties['RouteKey'])} ${String(Properties['AuthorizationType'])}`);
    expect(routes.sort()).toEqual([
      '$connect CUSTOM',
      // The second one is the HTTP API's.
      '$default NONE',
      '$default NONE',
      '$disconnect NONE',
      'hb NONE',
    ]);
    template.hasResourceProperties('AWS::ApiGatewayV2::Authorizer', {
      AuthorizerType: 'REQUEST',
      IdentitySource: Match.absent(),
    });
  });

  it('answers heartbeats without a function, by a frame that hosts understand', () => {
    const [integration] = stack
      .all('AWS::ApiGatewayV2::Integration')
      .filter(({ Properties }) => Properties['IntegrationType'] === 'MOCK');
    expect(integration?.Properties['RequestTemplates']).toEqual({ $default: '{"statusCode":200}' });
    template.hasResourceProperties('AWS::ApiGatewayV2::IntegrationResponse', {
      ResponseTemplates: { $default: ANSWER },
    });
    template.resourceCountIs('AWS::ApiGatewayV2::RouteResponse', 1);
    expect(decodeDown(ANSWER)).toEqual({ t: 'hb' });
    expect(ANSWER.length).toBeLessThan(MAX_FRAME_BYTES);
  });
});

describe('jobs', () => {
  it('begin when one is written below jobs/, in the form of an S3 notification', () => {
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: Match.objectLike({
        'detail-type': ['Object Created'],
        detail: Match.objectLike({ object: { key: [{ prefix: 'jobs/' }] } }),
      }),
      Targets: [Match.objectLike({ InputTransformer: Match.objectLike({ InputTemplate: NOTIFICATION }) })],
    });
    template.hasResourceProperties('AWS::S3::Bucket', {
      NotificationConfiguration: { EventBridgeConfiguration: { EventBridgeEnabled: true } },
    });
  });

  it('are swept each minute', () => {
    template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
  });

  it('that fail for good end in an encrypted queue, whether Lambda or EventBridge gave up', () => {
    template.hasResourceProperties('AWS::SQS::Queue', {
      SqsManagedSseEnabled: true,
      MessageRetentionPeriod: 14 * 86_400,
    });
    template.allResourcesProperties('AWS::Lambda::EventInvokeConfig', {
      DestinationConfig: { OnFailure: { Destination: Match.anyValue() } },
    });
    template.allResourcesProperties('AWS::Events::Rule', {
      Targets: [Match.objectLike({ DeadLetterConfig: { Arn: Match.anyValue() } })],
    });
  });
});

const NOTIFICATION =
  '{"Records":[{"eventSource":"aws:s3","s3":{"bucket":{"name":<detail-bucket-name>},"object":{"key":<detail-object-key>}}}]}';

describe('CloudFront', () => {
  it('passes signed URLs through to S3 uncached, and caches the catalogue, over HTTPS and for reading only', () => {
    const [distribution] = stack.all('AWS::CloudFront::Distribution');
    const { DefaultCacheBehavior, CacheBehaviors } = distribution!.Properties['DistributionConfig'] as {
      DefaultCacheBehavior: Record<string, unknown>;
      CacheBehaviors: Record<string, unknown>[];
    };
    const CACHING_DISABLED = '4135ea2d-6df8-44a3-9df3-4b5a84be39ad';
    expect(CacheBehaviors).toMatchObject([{ PathPattern: 'upload/*', CachePolicyId: CACHING_DISABLED }]);
    for (const behaviour of [DefaultCacheBehavior, ...CacheBehaviors]) {
      expect(behaviour).toMatchObject({ ViewerProtocolPolicy: 'https-only', AllowedMethods: ['GET', 'HEAD'] });
    }
    template.hasResourceProperties('AWS::CloudFront::OriginRequestPolicy', {
      OriginRequestPolicyConfig: {
        QueryStringsConfig: { QueryStringBehavior: 'all' },
        HeadersConfig: { HeaderBehavior: 'none' },
        CookiesConfig: { CookieBehavior: 'none' },
      },
    });
  });
});

describe('what is told after a deployment', () => {
  it('is the URL, and the command for the first login', () => {
    const outputs = template.findOutputs('*');
    expect(readable(outputs['Url']?.['Value'])).toBe('<ApisHttp.ApiEndpoint>');
    expect(readable(outputs['FirstLogin']?.['Value'])).toBe(
      'umask 077 && mkdir -p ~/.fairlead && aws lambda invoke --region <Region> --function-name <FunctionsbootstrapFunction> ~/.fairlead/client.json && export FAIRLEAD_DATA=~/.fairlead',
    );
  });
});

describe('a deployment with everything said', () => {
  const full = new Synthesized({
    domain: 'fleet.example.org',
    zoneId: 'Z0',
    zoneName: 'example.org',
    alarmEmail: 'ops@example.org',
    reserve: 'link=200,http=100',
    downloads: 'cloudfront',
    table: 'restored',
    restoredAt: '2026-11-20T18:00:00Z',
  });

  it('answers to its own names, with certificate and records, and not to the old one', () => {
    full.template.hasResourceProperties('AWS::CertificateManager::Certificate', {
      DomainName: 'fleet.example.org',
      SubjectAlternativeNames: ['link.fleet.example.org'],
    });
    full.template.resourceCountIs('AWS::ApiGatewayV2::ApiMapping', 2);
    full.template.resourceCountIs('AWS::Route53::RecordSet', 2);
    full.template.hasResourceProperties('AWS::ApiGatewayV2::Api', {
      ProtocolType: 'HTTP',
      DisableExecuteApiEndpoint: true,
    });
    expect(readable(full.template.findOutputs('Url')['Url']?.['Value'])).toBe('https://fleet.example.org');
    full.template.allResourcesProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ LINK_URL: 'wss://link.fleet.example.org' }) },
    });
  });

  it('mails every alarm', () => {
    full.template.resourceCountIs('AWS::SNS::Subscription', 1);
    full.template.allResourcesProperties('AWS::CloudWatch::Alarm', { AlarmActions: [Match.anyValue()] });
  });

  it('sets the concurrency aside that was asked for', () => {
    const reserved = full
      .all('AWS::Lambda::Function')
      .flatMap(({ Properties }) => Properties['ReservedConcurrentExecutions'] ?? []);
    expect(new Set(reserved)).toEqual(new Set([100, 200]));
  });

  it('uses the restored table and keeps its own', () => {
    full.template.allResourcesProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ TABLE: 'restored', RESTORED_AT: '2026-11-20T18:00:00Z' }) },
    });
    full.template.resourceCountIs('AWS::DynamoDB::GlobalTable', 1);
  });
});
