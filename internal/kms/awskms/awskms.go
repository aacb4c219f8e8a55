// Package awskms is the KMS of Amazon Web Services.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/cloud"
)

// Config is a provider's settings. Credentials are those of the AWS SDK: the
// environment, the shared files, the role of the machine or the pod.
type Config struct {
	Region   string            `koanf:"region"`   // the SDK's (AWS_REGION, the profile) if empty
	Profile  string            `koanf:"profile"`  // of the shared files; the default one if empty
	Endpoint string            `koanf:"endpoint"` // another address of the service, such as a VPC endpoint's
	Keys     map[string]string `koanf:"keys"`     // what EFS calls a master key → its ARN
}

// Validate reports everything in c that cannot hold.
func (c Config) Validate() error { return cloud.CheckKeys(c.Keys) }

// New opens a provider. Nothing is sent to the master keys before they are
// needed.
func New(ctx context.Context, name string, c Config) (*cloud.KMS, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	config, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithRegion(c.Region), awsconfig.WithSharedConfigProfile(c.Profile),
		awsconfig.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })) // repeating is for the caller
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of AWS: %w", err)
	}
	if config.Region == "" {
		return nil, errors.New("region is missing, and AWS_REGION and the profile say none")
	}
	client := kms.NewFromConfig(config, func(o *kms.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return cloud.New(name, "AWS's own tools (aws kms)", c.Keys, backend{client}), nil
}

type backend struct{ client *kms.Client }

func (backend) Close() error { return nil }

// encryptionContext is what AWS authenticates, shows in CloudTrail and lets
// key policies ask for (kms:EncryptionContext:efs-fs).
func encryptionContext(b efs.Binding) map[string]string {
	return map[string]string{
		"efs-purpose": b.Purpose, "efs-fs": b.FS.String(), "efs-stage": strconv.Itoa(b.Stage),
		"efs-epoch": strconv.Itoa(b.Epoch), "efs-key": b.Key.String(),
	}
}

func (a backend) Encrypt(ctx context.Context, arn string, plaintext []byte, b efs.Binding, _ []byte) ([]byte, error) {
	out, err := a.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: plaintext, EncryptionContext: encryptionContext(b)})
	if err != nil {
		return nil, meaning(err)
	}
	return out.CiphertextBlob, nil
}

func (a backend) Decrypt(ctx context.Context, arn string, ciphertext []byte, b efs.Binding, _ []byte) ([]byte, error) {
	out, err := a.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &arn, CiphertextBlob: ciphertext, EncryptionContext: encryptionContext(b)})
	if err != nil {
		return nil, meaning(err)
	}
	return out.Plaintext, nil
}

// Describe tells about a master key. AWS rotates without numbering versions.
func (a backend) Describe(ctx context.Context, arn string) (efs.KeyInfo, error) {
	out, err := a.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	if err != nil {
		return efs.KeyInfo{}, meaning(err)
	}
	m := out.KeyMetadata
	info := efs.KeyInfo{State: efs.KeyDisabled, Version: 1, Created: aws.ToTime(m.CreationDate).UTC(),
		KeyOptions: efs.KeyOptions{Description: aws.ToString(m.Description)}}
	switch m.KeyState {
	case types.KeyStateEnabled:
		info.State = efs.KeyEnabled
	case types.KeyStatePendingDeletion:
		info.State, info.DeleteAt = efs.KeyPendingDeletion, aws.ToTime(m.DeletionDate).UTC()
	}
	return info, nil
}

// meaning turns an error of AWS into one of package efs.
func meaning(err error) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: AWS does not answer: %w", efs.ErrUnavailable, err)
	}
	kind := efs.ErrUnavailable // throttled, broken, the key's own store away
	switch answer.ErrorCode() {
	case "NotFoundException":
		kind = efs.ErrNotFound
	case "InvalidCiphertextException", "IncorrectKeyException":
		kind = efs.ErrWrongKey
	case "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException", "AccessDeniedException", "AccessDenied",
		"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "InvalidSignatureException", "SignatureDoesNotMatch",
		"MissingAuthenticationTokenException", "IncompleteSignature", "ValidationException", "InvalidArnException", "InvalidGrantTokenException":
		kind = efs.ErrRefused
	}
	return fmt.Errorf("%w: AWS answers %s: %s", kind, answer.ErrorCode(), answer.ErrorMessage())
}
