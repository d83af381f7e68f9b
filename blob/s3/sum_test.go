package s3_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

func sum(t *testing.T, s *s3.Store, name blob.Name) []byte {
	t.Helper()
	got, err := s.Sum(t.Context(), name)
	if err != nil {
		t.Fatalf("Sum(%s): %v", name, err)
	}
	return got
}

func TestSum_OfWhatOtherToolsHavePut(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	client, bucket := g.Client(), &l.Bucket
	key := func(name string) *string { return aws.String(l.Prefix + "/" + name) }
	data := []byte("some bytes")
	put(t, s, "ours", string(data))

	_, err := client.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: bucket, Key: key("copied"),
		CopySource: aws.String(l.Bucket + "/" + *key("ours"))})
	if err != nil {
		t.Fatal(err)
	}
	g.PutOtherwise(t, l, "other-algorithm", data)
	inParts(t, client, bucket, key("parts"), data)
	file := filepath.Join(g.Dir, l.Bucket, l.Prefix, "beneath")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}

	want := sha256.Sum256(data)
	if got := sum(t, s, "copied"); got != nil && !bytes.Equal(got, want[:]) {
		t.Errorf("Sum of a copy = %x, want %x or none", got, want)
	}
	for _, name := range []blob.Name{"other-algorithm", "parts", "beneath"} {
		if got := sum(t, s, name); got != nil {
			t.Errorf("Sum(%s) = %x, want none", name, got)
		}
		if got, err := get(t, s, name); got != string(data) || err != nil {
			t.Errorf("Get(%s) = %q, %v", name, got, err)
		}
	}
}

// inParts uploads an object in one part, with the SHA-256 of the checksums of its parts.
func inParts(t *testing.T, client *awss3.Client, bucket, key *string, data []byte) {
	t.Helper()
	begun, err := client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumType: types.ChecksumTypeComposite})
	if err != nil {
		t.Fatal(err)
	}
	part, err := client.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: bucket, Key: key, UploadId: begun.UploadId,
		PartNumber: aws.Int32(1), Body: bytes.NewReader(data), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{Bucket: bucket, Key: key,
		UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
			{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256}}}})
	if err != nil {
		t.Fatal(err)
	}
	head, err := client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || aws.ToString(head.ChecksumSHA256) == "" {
		t.Fatalf("the server keeps no checksum of parts: %v", err)
	}
}

// TestSum_IsThatOfTheUpload pins what a gateway to a file system cannot know: what becomes of the file.
func TestSum_IsThatOfTheUpload(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	put(t, s, "a", "some bytes")
	file := filepath.Join(g.Dir, l.Bucket, l.Prefix, "a")
	if err := os.WriteFile(file, []byte("Some bytes"), 0o600); err != nil { // in place: attributes stay
		t.Fatal(err)
	}
	want := sha256.Sum256([]byte("some bytes"))
	if got := sum(t, s, "a"); !bytes.Equal(got, want[:]) {
		t.Errorf("Sum = %x, want that of the upload, %x", got, want)
	}
}

func TestSum_AsksForNoBytes(t *testing.T) {
	t.Parallel()
	s, p := disturbed(t, s3.Options{})
	put(t, s, "a", strings.Repeat("x", 1<<20))
	in, ok := blob.AsSummer(s)
	if !ok {
		t.Fatal("a store that repeats hides that the other keeps checksums")
	}
	p.First(2, http.MethodHead, s3test.Busy)
	if got, err := in.Sum(t.Context(), "a"); len(got) != sha256.Size || err != nil {
		t.Errorf("Sum = %x, %v", got, err)
	}
	if p.Calls(http.MethodGet) != 0 || p.Calls(http.MethodHead) != 3 {
		t.Errorf("%d GET and %d HEAD, want none and 3", p.Calls(http.MethodGet), p.Calls(http.MethodHead))
	}
}

// TestPut_OfHashedReader: the checksum that the reader knows is the one that is sent.
func TestPut_OfHashedReader(t *testing.T) {
	t.Parallel()
	o := &oddServer{}
	s, err := o.open(t)
	if err != nil {
		t.Fatal(err)
	}
	var sent string
	o.put = func(_ http.ResponseWriter, r *http.Request, _ bool) { sent = r.Header.Get("X-Amz-Content-Sha256") }
	changing := []byte("some bytes")
	h, err := blob.NewHashed(bytes.NewReader(changing), 10)
	if err != nil {
		t.Fatal(err)
	}
	changing[0] = 'S' // what a faulty memory would do between the two
	if err := s.Put(t.Context(), "a", h, 10); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte("some bytes"))); sent != want {
		t.Errorf("Put of a reader that knows its checksum sends %s, want %s", sent, want)
	}
}
