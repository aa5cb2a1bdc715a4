import { afterAll, beforeAll, describe, it } from 'vitest';

import { dynamodbRecords } from '../../functions/aws/dynamodb-records.ts';
import { s3Objects } from '../../functions/aws/s3-objects.ts';
import { objectsContract } from '../../functions/ports/objects.contract.ts';
import { recordsContract } from '../../functions/ports/records.contract.ts';
import { send } from '../../infra/embedded/test-client.ts';
import { BUCKET, clock, NO_CLOUD, openCloud, random, type Cloud } from './cloud.ts';

if (NO_CLOUD === undefined) onMoto();
else it.skip(`the contracts of records and objects on AWS: ${NO_CLOUD}`);

function onMoto(): void {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await openCloud();
  });
  afterAll(() => cloud[Symbol.asyncDispose]());

  describe('on AWS', () => {
    recordsContract('DynamoDB', async () => ({
      records: dynamodbRecords({ client: cloud.dynamodb, table: await cloud.emptyTable(), clock, random }),
      close: async () => undefined,
    }));
    objectsContract('S3', async () => ({
      objects: s3Objects({ client: cloud.s3, bucket: BUCKET }),
      send,
      close: async () => undefined,
    }));
  });
}
