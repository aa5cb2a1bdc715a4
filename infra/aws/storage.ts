import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { AttributeType, Billing, TableEncryptionV2, TableV2, type ITableV2 } from 'aws-cdk-lib/aws-dynamodb';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  ObjectOwnership,
  type CfnBucket,
  type IBucket,
} from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';

import type { Settings } from './settings.ts';

/** As far back as the table, and with it the objects it names, can be restored. */
export const RECOVERY_DAYS = 35;

/** Everything that is kept when the stack goes: records, objects (the key that seals tickets is one), the coming catalogue. */
export class Storage extends Construct {
  /** The table in use: the stack's own, or one that was restored. */
  readonly table: ITableV2;
  readonly objects: IBucket;
  readonly catalogue: IBucket;

  constructor(scope: Construct, id: string, { destroyData, table }: Settings) {
    super(scope, id);
    const removalPolicy = destroyData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const own = new TableV2(this, 'Table', {
      partitionKey: { name: 'pk', type: AttributeType.STRING },
      sortKey: { name: 'sk', type: AttributeType.STRING },
      timeToLiveAttribute: 'ttl',
      billing: Billing.onDemand(),
      // No charge a request; a key of one's own would cost one on every read.
      encryption: TableEncryptionV2.dynamoOwnedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true, recoveryPeriodInDays: RECOVERY_DAYS },
      deletionProtection: !destroyData,
      removalPolicy,
    });
    this.table = table === undefined ? (own as ITableV2) : TableV2.fromTableName(this, 'Restored', table);
    const objects = this.#bucket('Objects', removalPolicy);
    // Images keep the parts that were uploaded: nothing below upload/ may expire. The sweep deletes what no image claimed.
    objects.addLifecycleRule({ id: 'jobs', prefix: 'jobs/', expiration: Duration.days(1) });
    announceObjects(objects);
    this.objects = objects as IBucket;
    this.catalogue = this.#bucket('Catalogue', removalPolicy) as IBucket;
  }

  #bucket(id: string, removalPolicy: RemovalPolicy): Bucket {
    return new Bucket(this, id, {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      // A table restored to last month names objects of last month.
      versioned: true,
      lifecycleRules: [
        { id: 'multipart', abortIncompleteMultipartUploadAfter: Duration.days(1) },
        {
          id: 'deleted',
          noncurrentVersionExpiration: Duration.days(RECOVERY_DAYS),
          expiredObjectDeleteMarker: true,
        },
      ],
      removalPolicy,
      autoDeleteObjects: removalPolicy === RemovalPolicy.DESTROY,
    });
  }
}

/** The L2 form brings a function of its own that may change every bucket of the account; one property does the same. */
function announceObjects(bucket: Bucket): void {
  (bucket.node.defaultChild as CfnBucket).notificationConfiguration = {
    eventBridgeConfiguration: { eventBridgeEnabled: true },
  };
}
