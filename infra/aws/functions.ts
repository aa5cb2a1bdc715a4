import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Effect, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  LoggingFormat,
  Runtime,
  SystemLogLevel,
  type IFunction,
} from 'aws-cdk-lib/aws-lambda';
import { LogLevel, NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { fileURLToPath } from 'node:url';

import { permissions, type Grant, type Owned } from './permissions.ts';
import { FUNCTIONS, type FunctionName, type Settings } from './settings.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

/** Lambda gives processor time by memory: 1,769 MB is one whole processor. API Gateway waits 30 s (HTTP) or 29 s (websocket). */
const SIZES: Readonly<Record<FunctionName, { entry: string; memory: number; seconds: number; does: string }>> = {
  http: { entry: 'http', memory: 1024, seconds: 29, does: 'The LXD API' },
  authorizer: { entry: 'authorizer', memory: 512, seconds: 10, does: 'Decides whether a websocket may open' },
  link: { entry: 'link', memory: 512, seconds: 29, does: 'Messages of hosts and clients' },
  ingest: { entry: 'jobs', memory: 1769, seconds: 900, does: 'Checks uploaded images' },
  sweep: { entry: 'jobs', memory: 1024, seconds: 300, does: 'Ends what is overdue, sends again what was lost' },
  bootstrap: { entry: 'bootstrap', memory: 256, seconds: 30, does: 'Makes a token for whoever deployed this' },
};

export interface FunctionsProps {
  readonly settings: Settings;
  readonly owned: Owned;
  readonly environment: Readonly<Record<string, string>>;
}

/** The Lambda functions: each with a role and a log of its own. */
export class Functions extends Construct {
  readonly all: Readonly<Record<FunctionName, IFunction>>;

  constructor(scope: Construct, id: string, { settings, owned, environment }: FunctionsProps) {
    super(scope, id);
    const granted = permissions(owned);
    const make = (name: FunctionName) => this.#function(name, granted[name], settings, environment);
    this.all = Object.fromEntries(FUNCTIONS.map((name) => [name, make(name)])) as Record<FunctionName, IFunction>;
  }

  #function(
    name: FunctionName,
    grants: readonly Grant[],
    { logDays, destroyData, reserve }: Settings,
    environment: Readonly<Record<string, string>>,
  ): IFunction {
    const { entry, memory, seconds, does } = SIZES[name];
    const part = new Construct(this, name);
    const reserved = reserve[name];
    const logGroup = new LogGroup(part, 'Log', {
      retention: logDays,
      removalPolicy: destroyData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    const role = new Role(part, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com'), description: does });
    role.addToPolicy(statement({ actions: WRITE_LOG, resources: [logGroup.logGroupArn] }));
    for (const grant of grants) role.addToPolicy(statement(grant));
    return new NodejsFunction(part, 'Function', {
      description: does,
      entry: `${PROJECT}/functions/aws/${entry}.ts`,
      projectRoot: PROJECT,
      depsLockFilePath: `${PROJECT}/package-lock.json`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      memorySize: memory,
      timeout: Duration.seconds(seconds),
      environment: { ...environment, NODE_OPTIONS: '--enable-source-maps' },
      role,
      logGroup,
      // A line for each start, end and report would cost more than the invocation it tells of.
      loggingFormat: LoggingFormat.JSON,
      systemLogLevelV2: SystemLogLevel.WARN,
      applicationLogLevelV2: ApplicationLogLevel.INFO,
      ...(reserved !== undefined && { reservedConcurrentExecutions: reserved }),
      bundling: BUNDLING,
    });
  }
}

const WRITE_LOG = ['logs:CreateLogStream', 'logs:PutLogEvents'];

/** The AWS SDK goes in too: what runs is what was tested, not what Lambda has that week. */
const BUNDLING = {
  format: OutputFormat.ESM,
  target: 'node24',
  minify: true,
  sourceMap: true,
  sourcesContent: false,
  logLevel: LogLevel.ERROR,
  externalModules: [],
  mainFields: ['module', 'main'],
  // Packages in CommonJS call require, which ES modules lack.
  banner: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
};

function statement({ actions, resources, partitions }: Grant): PolicyStatement {
  return new PolicyStatement({
    effect: Effect.ALLOW,
    actions: [...actions],
    resources: [...resources],
    ...(partitions && { conditions: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': [...partitions] } } }),
  });
}

/** The ARN of a websocket API's stage, as permissions to post are written. */
export function stageArn(scope: Construct, api: string, stage: string): string {
  return Stack.of(scope).formatArn({ service: 'execute-api', resource: api, resourceName: stage });
}
