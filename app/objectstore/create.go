package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Parts of an object. The S3 API takes at most 10,000, each but the last of at least 5 MiB and at most 5 GiB. Parts double
// every growAfter, so that the largest object that the API takes, 5 TiB, fits, and what is held in memory stays near a
// thousandth of what was sent.
const (
	firstPart = 8 << 20
	growAfter = 1000
	maxParts  = 10_000
)

// never is the condition under which the store creates: there is no object of that name (RFC 9110, 13.1.2).
const never = "*"

// errStopped ends what writes once the store has given up.
var errStopped = errors.New("the object can not be stored")

// Create implements operation.Objects.
func (s *Store) Create(ctx context.Context, bucket, name string, write func(io.Writer) error) error {
	w := &upload{s: s, ctx: ctx, bucket: bucket, name: name}
	err := write(w)
	if w.err != nil { // what write made of it says less
		err = w.err
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil && w.id != nil {
		err = errors.Join(err, s.abort(context.WithoutCancel(ctx), bucket, name, w.id))
	}
	return err
}

// upload gathers one part at a time.
type upload struct {
	s            *Store
	ctx          context.Context
	bucket, name string
	id           *string // of the multipart upload; nil while everything fits one part
	buffer       bytes.Buffer
	parts        []types.CompletedPart
	err          error
}

// size of the part that is being gathered.
func (w *upload) size() int { return w.s.part << (len(w.parts) / growAfter) }

// Write implements io.Writer.
func (w *upload) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if w.err != nil {
			return written, fmt.Errorf("%w: %w", errStopped, w.err)
		}
		if w.buffer.Len() >= w.size() { // only once there is more: the last part is sent by finish
			w.err = w.send()
			continue
		}
		n := min(len(p), w.size()-w.buffer.Len())
		w.buffer.Write(p[:n])
		p, written = p[n:], written+n
	}
	return written, nil
}

// send stores the part that was gathered.
func (w *upload) send() error {
	if len(w.parts) >= maxParts {
		return fmt.Errorf("storing object %s: more than %d parts", w.name, maxParts)
	}
	if w.id == nil {
		out, err := within(w.ctx, callTimeout, func(ctx context.Context) (*s3.CreateMultipartUploadOutput, error) {
			return w.s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.bucket, Key: &w.name})
		})
		if err != nil {
			return named(err, "storing object", w.name)
		}
		w.id = out.UploadId
	}
	number := int32(len(w.parts) + 1)
	out, err := within(w.ctx, partTimeout, func(ctx context.Context) (*s3.UploadPartOutput, error) {
		return w.s.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &w.bucket, Key: &w.name, UploadId: w.id, PartNumber: &number, Body: bytes.NewReader(w.buffer.Bytes())})
	})
	if err != nil {
		return named(err, fmt.Sprintf("storing part %d of object", number), w.name)
	}
	w.parts = append(w.parts, types.CompletedPart{ETag: out.ETag, PartNumber: &number})
	w.buffer.Reset()
	return nil
}

// finish makes the object appear, unless there is one of its name.
func (w *upload) finish() error {
	if w.id == nil {
		_, err := within(w.ctx, partTimeout, func(ctx context.Context) (*s3.PutObjectOutput, error) {
			return w.s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.bucket, Key: &w.name, Body: bytes.NewReader(w.buffer.Bytes()), IfNoneMatch: aws.String(never)})
		})
		return named(err, "storing object", w.name)
	}
	if err := w.send(); err != nil {
		return err
	}
	// Not every store heeds the condition when it puts parts together: the name is looked for first.
	_, err := within(w.ctx, callTimeout, func(ctx context.Context) (*s3.HeadObjectOutput, error) {
		return w.s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &w.bucket, Key: &w.name})
	})
	switch err = named(err, "looking for object", w.name); {
	case err == nil:
		return fmt.Errorf("storing object %s: %w", w.name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	_, err = within(w.ctx, partTimeout, func(ctx context.Context) (*s3.CompleteMultipartUploadOutput, error) {
		return w.s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &w.bucket, Key: &w.name, UploadId: w.id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: w.parts}, IfNoneMatch: aws.String(never)})
	})
	if err == nil {
		w.id = nil
	}
	return named(err, "storing object", w.name)
}

// abort gives up an upload and what was stored of it.
func (s *Store) abort(ctx context.Context, bucket, name string, id *string) error {
	_, err := within(ctx, callTimeout, func(ctx context.Context) (*s3.AbortMultipartUploadOutput, error) {
		return s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &name, UploadId: id})
	})
	if err = named(err, "giving up object", name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
