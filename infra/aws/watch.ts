import { Duration } from 'aws-cdk-lib';
import type { HttpApi, WebSocketApi } from 'aws-cdk-lib/aws-apigatewayv2';
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  TreatMissingData,
  type AlarmProps,
  type IMetric,
  type Metric,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Operation, type ITableV2 } from 'aws-cdk-lib/aws-dynamodb';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

import { FUNCTIONS, type FunctionName, type Settings } from './settings.ts';

const PERIOD = Duration.minutes(5);
const SUM = { statistic: 'Sum', period: PERIOD };
/** What the records' adapter calls. */
const OPERATIONS = [Operation.GET_ITEM, Operation.QUERY, Operation.TRANSACT_WRITE_ITEMS];

export interface Watched {
  readonly settings: Settings;
  readonly functions: Readonly<Record<FunctionName, IFunction>>;
  readonly http: HttpApi;
  readonly websocket: WebSocketApi;
  readonly stage: string;
  readonly table: ITableV2;
  readonly lost: Queue;
}

/** Alarms that tell of something to do, and one dashboard to see what. */
export class Watch extends Construct {
  readonly #notify: SnsAction | undefined;

  constructor(scope: Construct, id: string, watched: Watched) {
    super(scope, id);
    this.#notify = this.#notification(watched.settings.alarmEmail);
    this.#alarms(watched);
    this.#dashboard(watched);
  }

  #notification(email: string | undefined): SnsAction | undefined {
    if (email === undefined) return undefined;
    const topic = new Topic(this, 'Alarms', { enforceSSL: true });
    topic.addSubscription(new EmailSubscription(email));
    return new SnsAction(topic);
  }

  #alarms({ functions, http, websocket, stage, table, lost }: Watched): void {
    for (const name of FUNCTIONS) {
      this.#alarm(`${name}Errors`, functions[name].metricErrors(SUM), 5, `The function ${name} fails: see its log.`);
      this.#alarm(
        `${name}Throttles`,
        functions[name].metricThrottles(SUM),
        1,
        `The function ${name} was throttled: raise the account's Lambda concurrency (docs/aws.md).`,
      );
    }
    this.#alarm('HttpServerErrors', http.metricServerError(SUM), 10, 'Requests end in 5xx: see the log of http.');
    this.#alarm(
      'LinkIntegrationErrors',
      linkMetric(websocket, stage, 'IntegrationError'),
      10,
      'Messages of hosts or clients fail: see the log of link.',
    );
    this.#alarm(
      'TableThrottled',
      table.metricThrottledRequestsForOperations({ ...SUM, operations: OPERATIONS }),
      10,
      'The table throttles: a key is hot, or traffic doubled within minutes.',
    );
    this.#alarm(
      'LostJobs',
      lost.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', period: PERIOD }),
      1,
      'A job failed for the last time; the queue holds it for two weeks.',
    );
    this.#add('SweepStopped', {
      metric: functions.sweep.metricInvocations(SUM),
      alarmDescription: 'The sweep did not run for a quarter of an hour: what is overdue does not end.',
      threshold: 1,
      evaluationPeriods: 3,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
    });
  }

  /** What should never be tells at once; of failures that happen, two of three periods: one bad minute wakes nobody. */
  #alarm(id: string, metric: IMetric, threshold: number, alarmDescription: string): void {
    this.#add(id, {
      metric,
      threshold,
      alarmDescription,
      evaluationPeriods: 3,
      datapointsToAlarm: threshold === 1 ? 1 : 2,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
  }

  #add(id: string, props: AlarmProps): void {
    const alarm = new Alarm(this, id, props);
    if (this.#notify) alarm.addAlarmAction(this.#notify);
  }

  #dashboard({ settings, functions, http, websocket, stage, table, lost }: Watched): void {
    const link = (name: string, statistic?: string): Metric => linkMetric(websocket, stage, name, statistic);
    const each = (metric: (one: IFunction) => Metric): Metric[] =>
      FUNCTIONS.map((name) => metric(functions[name]).with({ label: name }));
    const graph = (title: string, left: IMetric[]): GraphWidget =>
      new GraphWidget({ title, left, width: 8, height: 6 });
    new Dashboard(this, 'Dashboard', {
      dashboardName: settings.name,
      widgets: [
        [
          graph('Websockets opened', [link('ConnectCount')]),
          graph('Messages', [link('MessageCount')]),
          graph('Link errors', [link('ClientError'), link('ExecutionError'), link('IntegrationError')]),
        ],
        [
          graph('Requests', [http.metricCount(SUM), http.metricClientError(SUM), http.metricServerError(SUM)]),
          graph('Latency (ms)', [
            http.metricLatency({ statistic: 'p50', period: PERIOD }),
            http.metricLatency({ statistic: 'p99', period: PERIOD }),
            link('IntegrationLatency', 'p99'),
          ]),
          graph('Jobs lost', [lost.metricApproximateNumberOfMessagesVisible({ statistic: 'Maximum', period: PERIOD })]),
        ],
        [
          graph(
            'Function errors',
            each((one) => one.metricErrors(SUM)),
          ),
          graph(
            'Function throttles',
            each((one) => one.metricThrottles(SUM)),
          ),
          graph(
            'Running at once',
            each((one) => one.metric('ConcurrentExecutions', { statistic: 'Maximum', period: PERIOD })),
          ),
        ],
        [
          graph(
            'Function duration p99 (ms)',
            each((one) => one.metricDuration({ statistic: 'p99', period: PERIOD })),
          ),
          graph('Table capacity', [
            table.metricConsumedReadCapacityUnits(SUM),
            table.metricConsumedWriteCapacityUnits(SUM),
          ]),
          graph('Table throttles', [table.metricThrottledRequestsForOperations({ ...SUM, operations: OPERATIONS })]),
        ],
      ],
    });
  }
}

function linkMetric(api: WebSocketApi, stage: string, name: string, statistic = 'Sum'): Metric {
  return api.metric(name, { dimensionsMap: { ApiId: api.apiId, Stage: stage }, statistic, period: PERIOD });
}
