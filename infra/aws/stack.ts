import { CfnOutput, Stack, Tags, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';

import { Apis } from './apis.ts';
import { DomainNames } from './domains.ts';
import { Downloads } from './downloads.ts';
import { Functions, stageArn } from './functions.ts';
import { Jobs } from './jobs.ts';
import type { Settings } from './settings.ts';
import { Storage } from './storage.ts';
import { Watch } from './watch.ts';

/** One deployment of Fairlead: whatever is in one account and Region, and nothing shared with another. */
export class FairleadStack extends Stack {
  constructor(scope: Construct, settings: Settings, props?: StackProps) {
    super(scope, settings.name, { description: 'Fairlead: a control plane for Linux containers behind NAT', ...props });
    this.#tag(settings);
    const storage = new Storage(this, 'Storage', settings);
    const names = settings.domains && new DomainNames(this, 'Names', settings.domains);
    const apis = new Apis(this, 'Apis', settings, names);
    const downloads = new Downloads(this, 'Downloads', storage);
    const { all: functions } = new Functions(this, 'Functions', {
      settings,
      owned: {
        table: storage.table.tableArn,
        objects: storage.objects.bucketArn,
        stage: stageArn(this, apis.websocket.apiId, apis.stage.stageName),
      },
      // Names, never secrets (functions/aws/deployment.ts).
      environment: {
        TABLE: storage.table.tableName,
        BUCKET: storage.objects.bucketName,
        PUBLIC_URL: apis.publicUrl,
        LINK_URL: apis.linkUrl,
        LINK_ENDPOINT: apis.stage.callbackUrl,
        ...(settings.restoredAt !== undefined && { RESTORED_AT: settings.restoredAt }),
        ...(settings.downloads === 'cloudfront' && { DOWNLOADS_URL: downloads.url }),
      },
    });
    apis.route(functions);
    const { lost } = new Jobs(this, 'Jobs', { objects: storage.objects, ...functions });
    const { http, websocket, stage } = apis;
    new Watch(this, 'Watch', {
      settings,
      functions,
      http,
      websocket,
      stage: stage.stageName,
      table: storage.table,
      lost,
    });
    this.#tell({ storage, apis, names, downloads, bootstrap: functions.bootstrap.functionName });
  }

  #tag({ name, tags }: Settings): void {
    Tags.of(this).add('fairlead', name);
    for (const [key, value] of Object.entries(tags)) Tags.of(this).add(key, value);
  }

  #tell(told: {
    storage: Storage;
    apis: Apis;
    names: DomainNames | undefined;
    downloads: Downloads;
    bootstrap: string;
  }): void {
    const { storage, apis, names, downloads, bootstrap } = told;
    const say = (id: string, description: string, value: string) => new CfnOutput(this, id, { description, value });
    say('Url', 'Where users and hosts reach the control plane', apis.publicUrl);
    say('FirstLogin', 'Writes an admin token where the fairlead command finds it', firstLogin(bootstrap, this.region));
    say('LinkUrl', 'Where websockets are opened', apis.linkUrl);
    say('LinkEndpoint', 'Where websockets are posted to', apis.stage.callbackUrl);
    say('DownloadsUrl', 'Signed downloads, and the image catalogue', downloads.url);
    say('ObjectsBucket', 'Images and jobs', storage.objects.bucketName);
    say('CatalogueBucket', 'The coming image catalogue', storage.catalogue.bucketName);
    say('Table', 'Records', storage.table.tableName);
    if (names === undefined) return;
    say('DomainTarget', 'CNAME target of the domain, unless its zone is here', names.api.regionalDomainName);
    say('LinkDomainTarget', 'CNAME target of the link domain, unless its zone is here', names.link.regionalDomainName);
  }
}

/** The answer of the function is the file that the command reads; nothing secret is shown. */
function firstLogin(functionName: string, region: string): string {
  const invoke = `aws lambda invoke --region ${region} --function-name ${functionName} ~/.fairlead/client.json`;
  return `umask 077 && mkdir -p ~/.fairlead && ${invoke} && export FAIRLEAD_DATA=~/.fairlead`;
}
