// Package objectstore is an object store that speaks the S3 API, for backups. It verifies TLS always, takes credentials
// from a private file or the environment anew for each call, holds one part in memory at a time, and creates objects
// conditionally, so that the store itself lets none take the place of another.
package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// Config of a Store. Region is required.
type Config struct {
	Endpoint        string // https URL; "" for AWS's own of the region
	Region          string
	CredentialsFile string // "" for the environment
	CAFile          string // PEM authorities that the endpoint's certificate is verified against; "" for the system's
	PathStyle       bool   // the bucket in the path, not in the host's name
}

// Bounds of connections (ours).
const (
	dialTimeout   = 10 * time.Second
	headerTimeout = time.Minute
	// stallTimeout gives up an answer that stops coming.
	stallTimeout = 2 * time.Minute
	// partTimeout bounds the sending of one part: 8 MiB at some 14 KiB/s.
	partTimeout = 10 * time.Minute
	callTimeout = 2 * time.Minute
	maxCAFile   = 1 << 20
	// maxListed bounds one listing: a schedule keeps at most some hundreds of copies with their journals.
	maxListed = 100_000
)

// Store implements operation.Objects. Safe for concurrent use.
type Store struct {
	client *s3.Client
	part   int // bytes of the first parts
}

// New checks the configuration and returns a store. It makes no connection.
func New(cfg Config) (*Store, error) {
	if cfg.Region == "" {
		return nil, errors.New("object store: region is empty; allowed: the region that requests are signed for, e.g. eu-central-1")
	}
	if err := checkEndpoint(cfg.Endpoint); err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	client := s3.New(s3.Options{
		Region: cfg.Region, UsePathStyle: cfg.PathStyle, Credentials: credentials{cfg.CredentialsFile},
		HTTPClient: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		BaseEndpoint: func() *string {
			if cfg.Endpoint == "" {
				return nil
			}
			return aws.String(cfg.Endpoint)
		}(),
		// Backups carry hashes of their own and are read back whole; not every store knows these checksums.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
	return &Store{client: client, part: firstPart}, nil
}

func checkEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("object store: endpoint %.80q; allowed: https://host[:port][/path]", text)
	}
	return nil
}

func newTransport(caFile string) (*http.Transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("object store: the process replaced the default HTTP transport")
	}
	t := base.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = dialTimeout, headerTimeout
	if caFile == "" {
		return t, nil
	}
	f, err := os.Open(caFile)
	if err != nil {
		return nil, fmt.Errorf("object store: authorities: %w", err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCAFile))
	if err != nil {
		return nil, fmt.Errorf("object store: authorities: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("object store: %s holds no PEM certificate", caFile)
	}
	return t, nil
}

// named gives what the store answered a sentinel that callers know, and keeps what was done.
func named(err error, doing, name string) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound", "NoSuchUpload":
			return fmt.Errorf("%s %s: %w", doing, name, fs.ErrNotExist)
		case "PreconditionFailed", "ConditionalRequestConflict":
			return fmt.Errorf("%s %s: %w", doing, name, fs.ErrExist)
		}
	}
	return fmt.Errorf("%s %s: %w", doing, name, err)
}

// Open implements operation.Objects. An answer that stops coming is given up.
func (s *Store) Open(ctx context.Context, bucket, name string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &name})
	if err != nil {
		cancel(nil)
		return nil, named(err, "reading object", name)
	}
	stalled := fmt.Errorf("reading object %s: nothing came for %s", name, stallTimeout)
	return &body{ReadCloser: out.Body, ctx: ctx, cancel: cancel, timer: time.AfterFunc(stallTimeout, func() { cancel(stalled) })}, nil
}

// body is an answer that is read at whatever pace it comes, as long as it comes.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(stallTimeout)
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); err != nil && !errors.Is(err, io.EOF) && cause != nil {
		err = cause
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// Size implements segment.Objects.
func (s *Store) Size(ctx context.Context, bucket, name string) (int64, error) {
	out, err := within(ctx, callTimeout, func(ctx context.Context) (*s3.HeadObjectOutput, error) {
		return s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &name})
	})
	if err != nil {
		return 0, named(err, "looking for object", name)
	}
	return aws.ToInt64(out.ContentLength), nil
}

// ReadAt implements segment.Objects.
func (s *Store) ReadAt(ctx context.Context, bucket, name string, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	span := fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)
	n, err := within(ctx, partTimeout, func(ctx context.Context) (int, error) {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &name, Range: &span})
		if err != nil {
			return 0, err
		}
		defer out.Body.Close()
		if got := aws.ToString(out.ContentRange); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", off)) { // a store that does not know ranges gives the whole
			return 0, fmt.Errorf("asked for %s, was given %.40q", span, got)
		}
		return io.ReadFull(out.Body, p)
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, named(err, "reading object", name)
	}
	return n, err
}

// List implements operation.Objects.
func (s *Store) List(ctx context.Context, bucket, prefix string) ([]string, error) {
	var out []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := within(ctx, callTimeout, func(ctx context.Context) (*s3.ListObjectsV2Output, error) { return pages.NextPage(ctx) })
		if err != nil {
			return nil, named(err, "listing objects", prefix)
		}
		for _, o := range page.Contents {
			out = append(out, aws.ToString(o.Key))
		}
		if len(out) > maxListed {
			return nil, fmt.Errorf("listing objects %s: more than %d", prefix, maxListed)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Remove implements operation.Objects.
func (s *Store) Remove(ctx context.Context, bucket, name string) error {
	_, err := within(ctx, callTimeout, func(ctx context.Context) (*s3.DeleteObjectOutput, error) {
		return s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &name})
	})
	if err = named(err, "deleting object", name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Replace implements operation.Objects.
func (s *Store) Replace(ctx context.Context, bucket, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("storing object %s: %w", name, err)
	}
	defer f.Close()
	_, err = within(ctx, partTimeout, func(ctx context.Context) (*s3.PutObjectOutput, error) {
		return s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &name, Body: f})
	})
	return named(err, "storing object", name)
}

// Discard implements operation.Objects.
func (s *Store) Discard(ctx context.Context, bucket, prefix, suffix string) error {
	var errs []error
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := within(ctx, callTimeout, func(ctx context.Context) (*s3.ListMultipartUploadsOutput, error) { return pages.NextPage(ctx) })
		if err = named(err, "listing unfinished uploads", prefix); errors.Is(err, fs.ErrNotExist) {
			break // some stores say so of a bucket in which nothing was ever begun
		}
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, u := range page.Uploads {
			if strings.HasSuffix(aws.ToString(u.Key), suffix) {
				errs = append(errs, s.abort(ctx, bucket, aws.ToString(u.Key), u.UploadId))
			}
		}
	}
	return errors.Join(errs...)
}

// within bounds one call.
func within[T any](ctx context.Context, limit time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}
