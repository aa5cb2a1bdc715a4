import { DomainName, SecurityPolicy } from 'aws-cdk-lib/aws-apigatewayv2';
import { Certificate, CertificateValidation, type ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { ARecord, HostedZone, RecordTarget, type IHostedZone } from 'aws-cdk-lib/aws-route53';
import { ApiGatewayv2DomainProperties } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';

import type { Domains } from './settings.ts';

/** Names of one's own for both doors. With a zone their certificate and records are made here, else the certificate is given. */
export class DomainNames extends Construct {
  readonly api: DomainName;
  readonly link: DomainName;

  constructor(scope: Construct, id: string, { api, link, proof }: Domains) {
    super(scope, id);
    const zone = 'zone' in proof ? this.#zone(proof.zone) : undefined;
    const certificate: ICertificate =
      'certificate' in proof
        ? Certificate.fromCertificateArn(this, 'Certificate', proof.certificate)
        : new Certificate(this, 'Certificate', {
            domainName: api,
            subjectAlternativeNames: [link],
            validation: CertificateValidation.fromDns(zone),
          });
    this.api = this.#name('Api', api, certificate, zone);
    this.link = this.#name('Link', link, certificate, zone);
  }

  #zone({ id, name }: { id: string; name: string }): IHostedZone {
    return HostedZone.fromHostedZoneAttributes(this, 'Zone', { hostedZoneId: id, zoneName: name });
  }

  #name(id: string, domainName: string, certificate: ICertificate, zone: IHostedZone | undefined): DomainName {
    const name = new DomainName(this, id, { domainName, certificate, securityPolicy: SecurityPolicy.TLS_1_2 });
    if (zone !== undefined) {
      const target = new ApiGatewayv2DomainProperties(name.regionalDomainName, name.regionalHostedZoneId);
      new ARecord(this, `${id}Record`, { zone, recordName: `${domainName}.`, target: RecordTarget.fromAlias(target) });
    }
    return name;
  }
}
