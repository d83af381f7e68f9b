package s3

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/lockfast/lockfast/blob"
)

// List implements [blob.Store]. It asks for a page, of up to 1000 blobs, as the iteration reaches it.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var last blob.Name
		for out, err := range s.pages(ctx, prefix, nil) {
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			for _, object := range out.Contents {
				name := blob.Name(strings.TrimPrefix(aws.ToString(object.Key), s.prefix))
				if name.Check() != nil || !strings.HasPrefix(string(name), prefix) {
					continue
				}
				if name <= last {
					yield(blob.Info{}, fmt.Errorf("list %s: the server lists %s after %s", prefix, name, last))
					return
				}
				last = name
				if !yield(blob.Info{Name: name, Size: aws.ToInt64(object.Size)}, nil) {
					return
				}
			}
		}
	}
}

// Directories yields the first elements of the names of more than one element, each once, without listing the blobs.
func (s *Store) Directories(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for out, err := range s.pages(ctx, "", aws.String("/")) {
			if err != nil {
				yield("", err)
				return
			}
			for _, common := range out.CommonPrefixes {
				dir := strings.TrimSuffix(strings.TrimPrefix(aws.ToString(common.Prefix), s.prefix), "/")
				if blob.Name(dir).Check() == nil && !yield(dir, nil) {
					return
				}
			}
		}
	}
}

// pages yields the pages of a listing.
func (s *Store) pages(ctx context.Context, prefix string, delimiter *string) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		if !begins(prefix) {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
			}
			return
		}
		in := &s3.ListObjectsV2Input{Bucket: &s.location.Bucket, Prefix: aws.String(s.prefix + prefix), Delimiter: delimiter}
		for {
			var out *s3.ListObjectsV2Output
			err := s.call(ctx, func(ctx context.Context, _ *watch) (err error) {
				out, err = s.client.ListObjectsV2(ctx, in)
				return err
			})
			if err != nil {
				yield(nil, fmt.Errorf("list %s: %w", prefix, err))
				return
			}
			if !yield(out, nil) || !aws.ToBool(out.IsTruncated) {
				return
			}
			if aws.ToString(out.NextContinuationToken) == "" {
				yield(nil, fmt.Errorf("list %s: the server does not say where the next page begins", prefix))
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

// begins reports whether a name can begin with the prefix. Of others, some cannot even be asked for.
func begins(prefix string) bool {
	return prefix == "" || blob.Name(prefix).Check() == nil || blob.Name(prefix+"x").Check() == nil
}
