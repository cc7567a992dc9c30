package store

import "hash/maphash"

// shelfShards bounds what archiving one row copies: a 1024th of what is archived.
const shelfShards = 1024

// stub is what memory keeps of an archived row: what the ledger says of it, and the mark of its kind.
type stub struct {
	bound
	mark uint64
}

// shelf holds the archived rows of one kind. Once published it is never changed, as a table. A nil shelf is empty.
type shelf struct {
	shard  [shelfShards]map[string]stub
	shared [shelfShards]bool // belongs to an older shelf and is copied before a change
	count  int
}

// clone returns a shelf to change, sharing all shards.
func (s *shelf) clone() *shelf {
	next := &shelf{}
	if s == nil {
		return next
	}
	next.shard, next.count = s.shard, s.count
	for i := range next.shared {
		next.shared[i] = true
	}
	return next
}

func (s *shelf) get(seed maphash.Seed, id string) (stub, bool) {
	if s == nil {
		return stub{}, false
	}
	found, ok := s.shard[maphash.String(seed, id)%shelfShards][id]
	return found, ok
}

// own makes a shard that may be changed.
func (s *shelf) own(i uint64) map[string]stub {
	if s.shared[i] || s.shard[i] == nil {
		own := make(map[string]stub, len(s.shard[i])+1)
		for id, v := range s.shard[i] {
			own[id] = v
		}
		s.shard[i], s.shared[i] = own, false
	}
	return s.shard[i]
}

// put and remove are for a shelf that is not published yet.
func (s *shelf) put(seed maphash.Seed, id string, v stub) {
	own := s.own(maphash.String(seed, id) % shelfShards)
	if _, had := own[id]; !had {
		s.count++
	}
	own[id] = v
}

func (s *shelf) remove(seed maphash.Seed, id string) {
	own := s.own(maphash.String(seed, id) % shelfShards)
	if _, had := own[id]; had {
		s.count--
		delete(own, id)
	}
}

// walk yields what is archived, in no order.
func (s *shelf) walk(yield func(id string, v stub) bool) {
	if s == nil {
		return
	}
	for _, m := range s.shard {
		for id, v := range m {
			if !yield(id, v) {
				return
			}
		}
	}
}
