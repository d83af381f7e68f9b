package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/lockfast/lockfast/blob"
)

func newClient(ctx context.Context, l Location, c aws.CredentialsProvider) (*s3.Client, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 64
		t.DisableCompression = true
		t.WriteBufferSize, t.ReadBufferSize = 256<<10, 128<<10
	})
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(transport), config.WithLogger(logging.Nop{})}
	if l.Region != "" {
		load = append(load, config.WithRegion(l.Region))
	}
	if l.Credential != "" {
		load = append(load, config.WithSharedConfigProfile(l.Credential), config.WithSharedCredentialsFiles(files()))
	}
	if c != nil {
		load = append(load, config.WithCredentialsProvider(c))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of the AWS SDK: %w", err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil { // better said once here than with every request
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint = nil // not what the environment says, see the package comment
		if l.Endpoint != "" {
			o.BaseEndpoint = &l.Endpoint
		}
		if o.Region == "" {
			o.Region = "us-east-1"
		}
		o.UsePathStyle = l.PathStyle
		o.Retryer = aws.NopRetryer{}
		// Put and Get have checksums of their own.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}), nil
}

// files returns the shared files in which a profile is looked for. The user's own is among them even if the environment
// names another, which may be that of another service.
func files() []string {
	list := []string{config.DefaultSharedCredentialsFilename()}
	if file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); file != "" {
		list = append(list, file)
	}
	return list
}

// errStalled is the cause of the end of a request on which nothing moved.
var errStalled = errors.New("stalled")

// watch ends the context of a request on which nothing has moved for a while.
type watch struct {
	outer  context.Context // of the caller; a watch lives as long as one call or its reader
	stall  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	inner  context.Context
}

func newWatch(ctx context.Context, stall time.Duration) *watch {
	w := &watch{outer: ctx, stall: stall}
	w.inner, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(errStalled) })
	return w
}

func (w *watch) moved() { w.timer.Reset(w.stall) }
func (w *watch) pause() { w.timer.Stop() }

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain words the error of a request: the caller's context ended, nothing moved, or what [explain] finds.
func (w *watch) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case w.outer.Err() != nil:
		return w.outer.Err()
	case errors.Is(context.Cause(w.inner), errStalled):
		return fmt.Errorf("%w: nothing moved for %s", blob.ErrUnavailable, w.stall)
	}
	return explain(err)
}

// call makes a request when there is a slot for it, and explains its error.
func (s *Store) call(ctx context.Context, request func(context.Context, *watch) error) error {
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	w := newWatch(ctx, s.o.Stall)
	defer w.end()
	return w.explain(request(w.inner, w))
}

// slot waits until there are fewer requests than may be made at once.
func (s *Store) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
