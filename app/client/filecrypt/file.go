package filecrypt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"conclave/app/api"
	"conclave/app/client"
)

// Std names standard input or output in place of a file.
const Std = "-"

// ErrExists says that the target is there already.
var ErrExists = errors.New("target exists")

// Service is the part of the API that files need.
type Service interface {
	DataKey(ctx context.Context, key string, n int, encryptionContext map[string]string) (client.DataKey, error)
	Decrypt(ctx context.Context, key string, in api.DecryptRequest) (client.Plaintext, error)
	Rewrap(ctx context.Context, key string, in api.RewrapRequest) (api.RewrapResponse, error)
}

// Job is one file to encrypt, decrypt or rewrap.
type Job struct {
	In, Out string // paths, or Std
	Stdin   io.Reader
	Stdout  io.Writer
	Force   bool // replace an existing target
	// Key to encrypt or rewrap under.
	Key string
	// Context: encryption context of a new file; on decryption, fields that the file's context must have.
	Context   map[string]string
	ChunkSize int // 0: DefaultChunk
	// AcceptRisk: decrypt under a suspended key, what was protected before its suspension. The service's reason code
	// says why.
	AcceptRisk bool
	// Progress gets the number of bytes read so far; may be nil.
	Progress func(n int64)
}

// Done says what was made.
type Done struct {
	Key     string
	Version uint32
	Bytes   int64 // plaintext bytes; of a rewrapped file, its chunks' bytes
	Warning string
}

// EncryptFile encrypts a file or stream under a fresh data key.
func EncryptFile(ctx context.Context, s Service, j Job) (Done, error) {
	if j.ChunkSize == 0 {
		j.ChunkSize = DefaultChunk
	}
	done := Done{}
	err := j.run(func(dst io.Writer, src io.Reader) error {
		dk, err := s.DataKey(ctx, j.Key, DataKeyBytes, j.Context)
		if err != nil {
			return fmt.Errorf("asking for a data key: %w", err)
		}
		defer dk.Plaintext.Wipe()
		done.Key, done.Version, done.Warning = dk.Key, dk.Version, dk.Warning
		h, err := NewHeader(dk.Plaintext, dk.Ciphertext, j.Context, j.ChunkSize)
		if err != nil {
			return err
		}
		done.Bytes, err = Encrypt(ctx, dst, src, dk.Plaintext, h)
		return err
	})
	return done, err
}

// DecryptFile decrypts a file or stream. A target file appears only when everything was verified;
// standard output gets verified chunks as they come, so that only a nil error means a whole file.
func DecryptFile(ctx context.Context, s Service, j Job) (Done, error) {
	done := Done{}
	err := j.run(func(dst io.Writer, src io.Reader) error {
		h, err := ReadHeader(src)
		if err != nil {
			return err
		}
		for name, want := range j.Context {
			if got, ok := h.Context[name]; !ok || got != want {
				return fmt.Errorf("encryption context: field %q is not what was asked for", name)
			}
		}
		plain, err := s.Decrypt(ctx, "", api.DecryptRequest{
			Ciphertext: h.Wrapped, Context: h.Context, AcceptRisk: j.AcceptRisk,
		})
		if err != nil {
			return fmt.Errorf("asking for the data key: %w", err)
		}
		defer plain.Bytes.Wipe()
		done.Key, done.Version = plain.Key, plain.Version
		done.Bytes, err = Decrypt(ctx, dst, src, plain.Bytes, h)
		return err
	})
	return done, err
}

// RewrapFile puts a file's data key under the current version of j.Key. Its chunks are copied as they
// are: neither they nor the data key are opened.
func RewrapFile(ctx context.Context, s Service, j Job) (Done, error) {
	done := Done{}
	err := j.run(func(dst io.Writer, src io.Reader) error {
		h, err := ReadHeader(src)
		if err != nil {
			return err
		}
		out, err := s.Rewrap(ctx, j.Key, api.RewrapRequest{Ciphertext: h.Wrapped, Context: h.Context})
		if err != nil {
			return fmt.Errorf("rewrapping the data key: %w", err)
		}
		done.Key, done.Version, done.Warning = out.Key, out.Version, out.Warning
		h.Wrapped = out.Ciphertext
		head, err := h.Encode()
		if err != nil {
			return err
		}
		if _, err := dst.Write(head); err != nil {
			return fmt.Errorf("writing header: %w", err)
		}
		if done.Bytes, err = io.Copy(dst, src); err != nil {
			return fmt.Errorf("copying chunks: %w", err)
		}
		return nil
	})
	return done, err
}

const copyBuffer = 64 << 10

// run opens both ends, lets f work, and makes the target appear only when f succeeded.
func (j Job) run(f func(dst io.Writer, src io.Reader) error) error {
	in := j.Stdin
	if j.In != Std {
		file, err := os.Open(j.In)
		if err != nil {
			return fmt.Errorf("opening input: %w", err)
		}
		defer file.Close()
		in = file
	}
	if in == nil {
		return errors.New("input: standard input is not available")
	}
	src := io.Reader(bufio.NewReaderSize(in, copyBuffer))
	if j.Progress != nil {
		src = &counted{r: src, report: j.Progress}
	}
	if j.Out == Std {
		if j.Stdout == nil {
			return errors.New("output: standard output is not available")
		}
		return f(j.Stdout, src)
	}
	return j.toFile(src, f)
}

// toFile works in a file beside the target, readable by its owner only, and renames it at the end.
func (j Job) toFile(src io.Reader, f func(io.Writer, io.Reader) error) error {
	mode, err := j.target()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(j.Out), "."+filepath.Base(j.Out)+".partial-*")
	if err != nil {
		return fmt.Errorf("creating output: %w", err)
	}
	defer os.Remove(temp.Name()) // gone already when all went well
	defer temp.Close()           // closed already when all went well
	dst := bufio.NewWriterSize(temp, copyBuffer)
	if err := f(dst, src); err != nil {
		return err
	}
	if err := dst.Flush(); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	if err := errors.Join(temp.Chmod(mode), temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	return j.publish(temp.Name())
}

// target says with which permissions the target is to be made, or that it may not be.
func (j Job) target() (fs.FileMode, error) {
	const private fs.FileMode = 0o600
	info, err := os.Lstat(j.Out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return private, nil
	case err != nil:
		return 0, fmt.Errorf("looking at output: %w", err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("output %s: not a regular file", j.Out)
	case !j.Force:
		return 0, fmt.Errorf("output %s: %w; allowed: a new file, or --force to replace it", j.Out, ErrExists)
	}
	return info.Mode().Perm(), nil
}

func (j Job) publish(temp string) error {
	if j.Force {
		if err := os.Rename(temp, j.Out); err != nil {
			return fmt.Errorf("replacing output: %w", err)
		}
		return nil
	}
	// A link fails where somebody made the target meanwhile; a rename would replace it.
	err := os.Link(temp, j.Out)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("output %s: %w", j.Out, ErrExists)
	}
	if err == nil {
		return nil
	}
	// Some file systems have no links. target found nothing there; the rest of the race is accepted.
	if err := os.Rename(temp, j.Out); err != nil {
		return fmt.Errorf("publishing output: %w", err)
	}
	return nil
}

// Suffix is what encrypted files are named with.
const Suffix = ".cvf"

// DecryptedName is where a file decrypts to by default, "" where its name does not say.
func DecryptedName(path string) string {
	name, found := strings.CutSuffix(path, Suffix)
	if !found || filepath.Base(name) == "" || name == "" || strings.HasSuffix(name, string(filepath.Separator)) {
		return ""
	}
	return name
}

type counted struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}

var _ Service = (*client.Client)(nil)
