package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lockfast/lockfast/blob"
)

// Keeps implements [blob.Summer]. Every Put sends a checksum; whether the server keeps it is for Sum to tell.
func (s *Store) Keeps(blob.Name) bool { return true }

// Sum implements [blob.Summer]. The server has compared the checksum with the bytes when they were put. Amazon S3 also
// verifies its bytes regularly, see https://docs.aws.amazon.com/AmazonS3/latest/userguide/DataDurability.html; a gateway
// to a file system, such as versitygw, tells what it has noted, whatever has become of the file. Checksums of parts, which
// an object has that another tool has copied in parts, are none of the whole.
func (s *Store) Sum(ctx context.Context, name blob.Name) ([]byte, error) {
	if err := s.check(ctx, name); err != nil {
		return nil, err
	}
	out, err := s.head(ctx, name, types.ChecksumModeEnabled)
	if err != nil {
		return nil, fmt.Errorf("ask for the checksum of %s: %w", name, err)
	}
	return kept(out.ChecksumSHA256, out.ChecksumType), nil
}
