import { describe, expect, it } from 'vitest';

import { FUNCTIONS } from './settings.ts';
import { readable, Synthesized } from './synthesis.fixture.ts';

interface Statement {
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
}

const synthesized = new Synthesized();
const list = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

/** Every statement of a function's role, `actions on resources`. */
function rights(name: string): string[] {
  const [, { Properties }] = Object.entries(synthesized.resources).find(
    ([id, { Type }]) => Type === 'AWS::IAM::Policy' && id.startsWith(`Functions${name}Role`),
  )!;
  const { Statement: statements } = Properties['PolicyDocument'] as { Statement: Statement[] };
  return statements.map(({ Action, Resource, Condition }) => {
    const only =
      Condition === undefined
        ? ''
        : ` if ${JSON.stringify(Object.values(Object.values(Condition as object)[0] as object)[0])}`;
    return `${list(Action).join(' ')} on ${list(Resource).map(readable).join(' ')}${only}`;
  });
}

describe('what each function may do', () => {
  it('is exactly this', () => {
    expect(Object.fromEntries(FUNCTIONS.map((name) => [name, rights(name)]))).toMatchInlineSnapshot(`
      {
        "authorizer": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionsauthorizerLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn> if ["APITOKEN#*","USERS","HOSTS#*","NONCE#*"]",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/DELETE/@connections/*",
        ],
        "bootstrap": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionsbootstrapLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn> if ["USERS","APITOKEN#*","APITOKENS#*"]",
        ],
        "http": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionshttpLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn>",
          "s3:GetObject s3:PutObject on <StorageObjects.Arn>/keys/ticket",
          "s3:ListBucket on <StorageObjects.Arn>",
          "s3:PutObject on <StorageObjects.Arn>/jobs/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/POST/@connections/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/DELETE/@connections/*",
          "s3:GetObject s3:PutObject s3:DeleteObject on <StorageObjects.Arn>/upload/*",
        ],
        "ingest": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionsingestLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn>",
          "s3:GetObject s3:PutObject on <StorageObjects.Arn>/keys/ticket",
          "s3:ListBucket on <StorageObjects.Arn>",
          "s3:PutObject on <StorageObjects.Arn>/jobs/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/POST/@connections/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/DELETE/@connections/*",
          "s3:GetObject s3:DeleteObject on <StorageObjects.Arn>/jobs/*",
          "s3:GetObject s3:DeleteObject on <StorageObjects.Arn>/upload/*",
          "sqs:SendMessage sqs:GetQueueAttributes sqs:GetQueueUrl on <JobsLost.Arn>",
        ],
        "link": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionslinkLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn>",
          "s3:GetObject s3:PutObject on <StorageObjects.Arn>/keys/ticket",
          "s3:ListBucket on <StorageObjects.Arn>",
          "s3:PutObject on <StorageObjects.Arn>/jobs/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/POST/@connections/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/DELETE/@connections/*",
          "s3:GetObject on <StorageObjects.Arn>/upload/*",
        ],
        "sweep": [
          "logs:CreateLogStream logs:PutLogEvents on <FunctionssweepLog.Arn>",
          "dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on <StorageTable.Arn>",
          "s3:GetObject s3:PutObject on <StorageObjects.Arn>/keys/ticket",
          "s3:ListBucket on <StorageObjects.Arn>",
          "s3:PutObject on <StorageObjects.Arn>/jobs/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/POST/@connections/*",
          "execute-api:ManageConnections on arn:<Partition>:execute-api:<Region>:<AccountId>:<ApisWebsocket>/live/DELETE/@connections/*",
          "s3:DeleteObject on <StorageObjects.Arn>/upload/*",
          "sqs:SendMessage sqs:GetQueueAttributes sqs:GetQueueUrl on <JobsLost.Arn>",
        ],
      }
    `);
  });

  it('comes from one inline policy of a role of its own: no managed policy, no role that two share', () => {
    const roles = synthesized.all('AWS::IAM::Role');
    expect(roles).toHaveLength(FUNCTIONS.length);
    for (const { Properties } of roles) expect(Properties).not.toHaveProperty('ManagedPolicyArns');
    const used = synthesized.all('AWS::Lambda::Function').map(({ Properties }) => readable(Properties['Role']));
    expect(new Set(used).size).toBe(FUNCTIONS.length);
  });

  it('names its actions and resources: a star stands only behind a prefix that is ours', () => {
    const statements = synthesized
      .all('AWS::IAM::Policy')
      .flatMap(({ Properties }) => (Properties['PolicyDocument'] as { Statement: Statement[] }).Statement);
    for (const { Action, Resource } of statements) {
      for (const action of list(Action)) expect(action).toMatch(/^[a-z0-9-]+:[A-Za-z]+$/);
      for (const resource of list(Resource).map(readable))
        expect(resource).toMatch(
          /^<[^>]+\.Arn>(\/(upload|jobs)\/\*|\/keys\/ticket)?$|^arn:.*\/live\/(POST|DELETE)\/@connections\/\*$/,
        );
    }
  });

  it('does not reach the table by another action than those on single records', () => {
    const actions = FUNCTIONS.flatMap(rights)
      .join(' ')
      .match(/dynamodb:\w+/g);
    expect(new Set(actions)).toEqual(
      new Set(['GetItem', 'Query', 'PutItem', 'DeleteItem', 'ConditionCheckItem'].map((one) => `dynamodb:${one}`)),
    );
  });
});
