package s3test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
)

// Client returns a client of its own, for what a store does not do.
func (g *Gateway) Client() *awss3.Client {
	return awss3.New(awss3.Options{BaseEndpoint: &g.Endpoint, UsePathStyle: true, Region: "us-east-1", Credentials: Credentials()})
}

// CopyOntoItself does what a change of the class of an object does.
func (g *Gateway) CopyOntoItself(t testing.TB, l s3.Location, name blob.Name) {
	t.Helper()
	key := l.Prefix + "/" + string(name)
	_, err := g.Client().CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: &l.Bucket, Key: &key,
		CopySource: aws.String(l.Bucket + "/" + key), MetadataDirective: types.MetadataDirectiveReplace})
	if err != nil {
		t.Fatal(err)
	}
}

// PutOtherwise puts an object, also over another, with a checksum that is no SHA-256.
func (g *Gateway) PutOtherwise(t testing.TB, l s3.Location, name blob.Name, data []byte) {
	t.Helper()
	key := l.Prefix + "/" + string(name)
	_, err := g.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &l.Bucket, Key: &key, Body: bytes.NewReader(data),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if err != nil {
		t.Fatal(err)
	}
}
