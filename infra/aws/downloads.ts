import {
  AllowedMethods,
  CachePolicy,
  Distribution,
  HttpVersion,
  OriginRequestPolicy,
  OriginRequestQueryStringBehavior,
  PriceClass,
  ResponseHeadersPolicy,
  ViewerProtocolPolicy,
} from 'aws-cdk-lib/aws-cloudfront';
import { S3BucketOrigin } from 'aws-cdk-lib/aws-cloudfront-origins';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';

/**
 * CloudFront before the buckets. `upload/*` passes S3's own signed URLs through, uncached, so that S3 checks every one of them; what it gives
 * is CloudFront's cheaper transfer. Everything else is the coming catalogue: public, cached, read by CloudFront alone.
 */
export class Downloads extends Construct {
  readonly url: string;
  readonly distribution: Distribution;

  constructor(scope: Construct, id: string, { objects, catalogue }: { objects: IBucket; catalogue: IBucket }) {
    super(scope, id);
    const viewer = {
      viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
      allowedMethods: AllowedMethods.ALLOW_GET_HEAD,
    };
    this.distribution = new Distribution(this, 'Distribution', {
      comment: 'Fairlead: signed downloads and the image catalogue',
      httpVersion: HttpVersion.HTTP2_AND_3,
      priceClass: PriceClass.PRICE_CLASS_ALL,
      defaultBehavior: {
        ...viewer,
        origin: S3BucketOrigin.withOriginAccessControl(catalogue),
        cachePolicy: CachePolicy.CACHING_OPTIMIZED,
        responseHeadersPolicy: ResponseHeadersPolicy.SECURITY_HEADERS,
      },
      additionalBehaviors: {
        'upload/*': {
          ...viewer,
          origin: S3BucketOrigin.withBucketDefaults(objects),
          cachePolicy: CachePolicy.CACHING_DISABLED,
          originRequestPolicy: this.#signature(),
        },
      },
    });
    this.url = `https://${this.distribution.distributionDomainName}`;
  }

  /** The signature is in the query. No header goes along: S3 refuses a request that is signed twice. */
  #signature(): OriginRequestPolicy {
    return new OriginRequestPolicy(this, 'Signature', {
      comment: 'The query, for it holds the signature',
      queryStringBehavior: OriginRequestQueryStringBehavior.all(),
    });
  }
}
