import { Duration } from 'aws-cdk-lib';
import { EventField, Rule, RuleTargetInput, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { SqsDestination } from 'aws-cdk-lib/aws-lambda-destinations';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

export interface ScheduleProps {
  readonly objects: IBucket;
  readonly ingest: IFunction;
  readonly sweep: IFunction;
}

/** What starts work by itself: a job that was written down, and the minute. What fails for good is kept in a queue, and alarms. */
export class Jobs extends Construct {
  /** Jobs that failed to the last attempt, for two weeks. */
  readonly lost: Queue;

  constructor(scope: Construct, id: string, { objects, ingest, sweep }: ScheduleProps) {
    super(scope, id);
    this.lost = new Queue(this, 'Lost', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    const onFailure = new SqsDestination(this.lost);
    // The operation that waits for a job fails after an hour; the sweep asks again for one that was not heard of.
    ingest.configureAsyncInvoke({ retryAttempts: 2, maxEventAge: Duration.hours(1), onFailure });
    // The next minute is the retry.
    sweep.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1), onFailure });
    this.#onJob(objects, ingest);
    this.#eachMinute(sweep);
  }

  #onJob(objects: IBucket, ingest: IFunction): void {
    new Rule(this, 'Written', {
      description: 'A job was written below jobs/',
      eventPattern: {
        source: ['aws.s3'],
        detailType: ['Object Created'],
        detail: { bucket: { name: [objects.bucketName] }, object: { key: [{ prefix: 'jobs/' }] } },
      },
      targets: [
        new LambdaFunction(ingest, {
          event: notification(),
          deadLetterQueue: this.lost,
          maxEventAge: Duration.hours(1),
        }),
      ],
    });
  }

  #eachMinute(sweep: IFunction): void {
    const target = new LambdaFunction(sweep, {
      deadLetterQueue: this.lost,
      retryAttempts: 0,
      maxEventAge: Duration.minutes(1),
    });
    new Rule(this, 'EachMinute', { schedule: Schedule.rate(Duration.minutes(1)), targets: [target] });
  }
}

/** The event in the form of an S3 notification, which is what the function reads. */
function notification(): RuleTargetInput {
  const bucket = { name: EventField.fromPath('$.detail.bucket.name') };
  const object = { key: EventField.fromPath('$.detail.object.key') };
  return RuleTargetInput.fromObject({ Records: [{ eventSource: 'aws:s3', s3: { bucket, object } }] });
}
