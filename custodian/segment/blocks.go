package segment

import (
	"container/list"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// blockBytes is what is read of an object at once: some hundred groups of entries come with one request.
	blockBytes = 256 << 10
	// maxBlocks are kept of one object.
	maxBlocks = 16
)

// object is an object that is read in parts. io.ReaderAt has no context, hence the field.
type object struct {
	ctx          context.Context
	from         Objects
	bucket, name string
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	return o.from.ReadAt(o.ctx, o.bucket, o.name, p, off)
}

// blocks reads in whole blocks and keeps those that were used last.
type blocks struct {
	from io.ReaderAt
	size int64
	mu   sync.Mutex
	kept map[int64]*list.Element
	used list.List // of *block, the last used first
}

type block struct {
	number int64
	data   []byte
}

func newBlocks(from io.ReaderAt, size int64) *blocks {
	return &blocks{from: from, size: size, kept: map[int64]*list.Element{}}
}

// ReadAt implements io.ReaderAt.
func (b *blocks) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at < 0 || at >= b.size {
			return n, io.EOF
		}
		data, err := b.block(at / blockBytes)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[at%blockBytes:])
	}
	return n, nil
}

func (b *blocks) block(number int64) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.kept[number]; e != nil {
		b.used.MoveToFront(e)
		return e.Value.(*block).data, nil
	}
	data := make([]byte, min(blockBytes, b.size-number*blockBytes))
	if n, err := b.from.ReadAt(data, number*blockBytes); n < len(data) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	b.kept[number] = b.used.PushFront(&block{number, data})
	if b.used.Len() > maxBlocks {
		last := b.used.Back()
		delete(b.kept, b.used.Remove(last).(*block).number)
	}
	return data, nil
}
